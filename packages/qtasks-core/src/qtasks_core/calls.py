"""What `@app.task` returns: the function, and typed ways to queue a call of it, one class for each face."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from qtasks_core.errors import AddManyError
from qtasks_core.options import NO_OPTIONS, CallOptions
from qtasks_core.task import AddCall, BlockingTask, Task

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Self
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.options import Draft

__all__ = [
    "AsyncTaskFunction",
    "AsyncTaskMaker",
    "BlockingTaskFunction",
    "BlockingTaskMaker",
    "TaskFunction",
    "send_many",
]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class TaskFunction(Generic[P, R, C]):
    """A registered function: calling it runs it here and now, `add_task` queues the call.

    Parameters:
        app: The app that it is registered with.
        definition: Its definition.
    """

    def __init__(self, app: App, definition: TaskDefinition) -> None:
        self.app = app
        self.definition = definition
        self.options: CallOptions = NO_OPTIONS
        functools.update_wrapper(self, definition.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Run the plain function."""
        return cast("C", self.definition.function(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self.definition.name

    def with_options(
        self,
        *,
        priority: int | None = None,
        queue: str | None = None,
        delay: float | None = None,
        eta: dt.datetime | None = None,
        expires: float | dt.datetime | None = None,
        uuid: UUID | None = None,
        headers: dict[str, str] | None = None,
        results: bool = True,
        result_ttl: float | None = None,
    ) -> Self:
        """Return the same task with options for its next calls; see `CallOptions` for each.

        Raises:
            ConfigError: An option is of the wrong type or out of range.
        """
        other = copy.copy(self)
        other.options = CallOptions(
            priority=priority,
            queue=queue,
            delay=delay,
            eta=eta,
            expires=expires,
            uuid=uuid,
            headers=headers,
            results=results,
            result_ttl=result_ttl,
        )
        return other

    def _draft(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draft:
        return self.app.draft(self.name, args, kwargs, self.options, self.definition)

    def _drafts(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[Draft]:
        return [self._draft((), call) if isinstance(call, Mapping) else self._draft(tuple(call), {}) for call in calls]

    async def _send(self, draft: Draft) -> Task[R]:
        return Task(self.app, await self.app.add(draft), self.definition.returns)


class AsyncTaskFunction(TaskFunction[P, R, C]):
    """A task of `qtasks.asyncio`."""

    def add_task(self, *args: P.args, **kwargs: P.kwargs) -> AddCall[R]:
        """Queue a call: await the returned object, or its `.result(timeout)`.

        Raises:
            TypeError: The function could not be called like this.
            SendRefusedError: (when awaited) it is certainly not queued.
            SendUnknownError: (when awaited) it may be queued.
        """
        draft = self._draft(args, kwargs)
        return AddCall(self.name, lambda: self._send(draft))

    async def add_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[Task[R]]:
        """Queue many calls in as few round trips as possible.

        Parameters:
            calls: A tuple of positional or a mapping of keyword arguments for each.

        Raises:
            TypeError: One could not be called like this; nothing was sent.
            AddManyError: Some were not accepted; has the tasks that were.
        """
        return await send_many(self.app, self._drafts(calls), self.definition.returns)


class BlockingTaskFunction(TaskFunction[P, R, C]):
    """A task of `qtasks`."""

    @property
    def aio(self) -> AsyncTaskFunction[P, R, C]:
        """The awaitable form of the same task."""
        other: AsyncTaskFunction[P, R, C] = AsyncTaskFunction(self.app, self.definition)
        other.options = self.options
        return other

    def add_task(self, *args: P.args, **kwargs: P.kwargs) -> BlockingTask[R]:
        """Queue a call; return when it is safe. Raises as `AsyncTaskFunction.add_task`."""
        draft = self._draft(args, kwargs)
        record = self.app.portal.call(self.app.add, draft, hint="task.aio.add_task(…)")
        return BlockingTask(self.app, record, self.definition.returns)

    def add_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[BlockingTask[R]]:
        """Queue many calls in as few round trips as possible; see `AsyncTaskFunction.add_many`."""
        drafts = self._drafts(calls)
        returns = self.definition.returns
        return self.app.portal.call(_send_many_blocking, self.app, drafts, returns, hint="task.aio.add_many(…)")


class AsyncTaskMaker(Protocol):
    """`@app.task(...)` of `qtasks.asyncio`, waiting for its function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> AsyncTaskFunction[P, R, R]: ...


class BlockingTaskMaker(Protocol):
    """`@app.task(...)` of `qtasks`, waiting for its function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> BlockingTaskFunction[P, R, R]: ...


async def send_many(app: App, drafts: list[Draft], returns: Any) -> list[Task[Any]]:
    """Send drafts; return their tasks, or raise AddManyError with those that were accepted."""
    return await _send_as(Task, app, drafts, returns)


async def _send_many_blocking(app: App, drafts: list[Draft], returns: Any) -> list[BlockingTask[Any]]:
    return await _send_as(BlockingTask, app, drafts, returns)


async def _send_as(make: Callable[..., Any], app: App, drafts: list[Draft], returns: Any) -> list[Any]:
    answers = await app.add_many(drafts)
    tasks = [None if isinstance(one, Exception) else make(app, one, returns) for one in answers]
    errors = [one for one in answers if isinstance(one, Exception)]
    if errors:
        raise AddManyError(f"{len(errors)} of {len(drafts)} tasks were not accepted", errors, tasks)
    return tasks
