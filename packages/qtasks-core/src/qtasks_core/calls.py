"""What `@app.task` returns: the function, and typed ways to queue a call of it, one class for each face."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast

from qtasks_core.errors import AddManyError
from qtasks_core.options import CallOptions, checked_call
from qtasks_core.task import AddCall, BlockingTask, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from qtasks_core.app import App
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.options import Draft

__all__ = [
    "AsyncCaller",
    "AsyncTaskFunction",
    "BlockingCaller",
    "BlockingTaskFunction",
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
        self.options: CallOptions = {}
        functools.update_wrapper(self, definition.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Run the plain function; the context of the task that runs now is passed on where it wants one."""
        return cast("C", self.definition.call(args, kwargs))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self.definition.name

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return the same task with options for its next calls, instead of those set before; see `CallOptions`.

        Raises:
            ConfigError: An option is unknown, of the wrong type or out of range.
        """
        other = copy.copy(self)
        other.options = checked_call(options)
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


class AsyncCaller:
    """Queues calls by name, with options (`qtasks.asyncio`).

    Parameters:
        app: The app.
        options: Of the calls.
    """

    def __init__(self, app: App, options: CallOptions) -> None:
        self._app = app
        self._options = options

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> AddCall[Any]:
        """Queue a call by name; awaited as `AsyncTaskFunction.add_task`."""
        draft = self._app.draft(name, args, kwargs, self._options)

        async def send() -> Task[Any]:
            return Task(self._app, await self._app.add(draft))

        return AddCall(name, send)


class BlockingCaller:
    """Queues calls by name, with options (`qtasks`).

    Parameters:
        app: The app.
        options: Of the calls.
    """

    def __init__(self, app: App, options: CallOptions) -> None:
        self._app = app
        self._options = options

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> BlockingTask[Any]:
        """Queue a call by name; return when it is safe."""
        draft = self._app.draft(name, args, kwargs, self._options)
        return BlockingTask(self._app, self._app.portal.call(self._app.add, draft, hint="app.aio.add_task(…)"))


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
