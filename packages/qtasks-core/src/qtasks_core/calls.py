"""What `@app.task` returns: the function, and typed ways to queue a call of it, one class for each face."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast

from qtasks_core.errors import AddManyError, UnboundTaskError
from qtasks_core.options import CallOptions, checked_call
from qtasks_core.task import AddCall, BlockingTask, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from qtasks_core.app import App
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.homes import Bound, Home
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
        home: The app that it is registered with, or those that took it.
    """

    def __init__(self, home: Bound | Home) -> None:
        self._home = home
        self.options: CallOptions = {}
        functools.update_wrapper(self, home.definition.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Run the plain function; the context of the task that runs now is passed on where it wants one."""
        return cast("C", self.definition.call(args, kwargs))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def app(self) -> App:
        """The app that it is registered with.

        Raises:
            UnboundTaskError: There is none yet, or it is not clear which one is meant.
        """
        return self._home.find().app

    @property
    def definition(self) -> TaskDefinition:
        """Its definition."""
        return self._home.definition

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self.definition.name

    def named(self, name: str) -> tuple[TaskDefinition, App | None] | None:
        """Return the task under the name that it has in an app, and the app where this process has it."""
        return self._home.named(name)

    def bound_to(self, app: App) -> Self:
        """Return the same task as a given app has it; see `Registration.bind`."""
        home = self._home.of(app)
        if home is None:
            raise UnboundTaskError(
                f"task {self.name!r} does not belong to the app {app.name!r}: use app.include_router"
            )
        other = copy.copy(self)
        other._home = home  # noqa: SLF001  # of the same class
        return other

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return the same task with options for its next calls, instead of those set before; see `CallOptions`.

        Raises:
            ConfigError: An option is unknown, of the wrong type or out of range.
        """
        other = copy.copy(self)
        other.options = checked_call(options)
        return other

    def _draft(self, home: Bound, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draft:
        app, definition = home
        return app.draft(definition.name, args, kwargs, self.options, definition)

    def _drafts(self, home: Bound, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[Draft]:
        return [
            self._draft(home, (), call) if isinstance(call, Mapping) else self._draft(home, tuple(call), {})
            for call in calls
        ]

    async def _send(self, home: Bound, draft: Draft) -> Task[R]:
        return Task(home.app, await home.app.add(draft), home.definition.returns)


class AsyncTaskFunction(TaskFunction[P, R, C]):
    """A task of `qtasks.asyncio`."""

    def add_task(self, *args: P.args, **kwargs: P.kwargs) -> AddCall[R]:
        """Queue a call: await the returned object, or its `.result(timeout)`.

        Raises:
            TypeError: The function could not be called like this.
            SendRefusedError: (when awaited) it is certainly not queued.
            SendUnknownError: (when awaited) it may be queued.
            UnboundTaskError: It is of a router and belongs to no app yet, or to several.
        """
        home = self._home.find()
        draft = self._draft(home, args, kwargs)
        return AddCall(draft.task_name, lambda: self._send(home, draft))

    async def add_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[Task[R]]:
        """Queue many calls in as few round trips as possible.

        Parameters:
            calls: A tuple of positional or a mapping of keyword arguments for each.

        Raises:
            TypeError: One could not be called like this; nothing was sent.
            AddManyError: Some were not accepted; has the tasks that were.
        """
        home = self._home.find()
        return await send_many(home.app, self._drafts(home, calls), home.definition.returns)


class BlockingTaskFunction(TaskFunction[P, R, C]):
    """A task of `qtasks`."""

    @property
    def aio(self) -> AsyncTaskFunction[P, R, C]:
        """The awaitable form of the same task."""
        other: AsyncTaskFunction[P, R, C] = AsyncTaskFunction(self._home)
        other.options = self.options
        return other

    def add_task(self, *args: P.args, **kwargs: P.kwargs) -> BlockingTask[R]:
        """Queue a call; return when it is safe. Raises as `AsyncTaskFunction.add_task`."""
        home = self._home.find()
        draft = self._draft(home, args, kwargs)
        record = home.app.portal.call(home.app.add, draft, hint="task.aio.add_task(…)")
        return BlockingTask(home.app, record, home.definition.returns)

    def add_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[BlockingTask[R]]:
        """Queue many calls in as few round trips as possible; see `AsyncTaskFunction.add_many`."""
        app, definition = home = self._home.find()
        drafts = self._drafts(home, calls)
        return app.portal.call(_send_many_blocking, app, drafts, definition.returns, hint="task.aio.add_many(…)")


class _Caller:
    """Queues calls by name, with options.

    Parameters:
        app: The app.
        options: Of the calls.
    """

    def __init__(self, app: App, options: CallOptions) -> None:
        self._app = app
        self._options = options

    def _draft(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draft:
        return self._app.draft(name, args, kwargs, self._options)


class AsyncCaller(_Caller):
    """Queues calls by name, with options (`qtasks.asyncio`)."""

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> AddCall[Any]:
        """Queue a call by name; awaited as `AsyncTaskFunction.add_task`."""
        draft = self._draft(name, args, kwargs)

        async def send() -> Task[Any]:
            return Task(self._app, await self._app.add(draft))

        return AddCall(name, send)


class BlockingCaller(_Caller):
    """Queues calls by name, with options (`qtasks`)."""

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> BlockingTask[Any]:
        """Queue a call by name; return when it is safe."""
        draft = self._draft(name, args, kwargs)
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
