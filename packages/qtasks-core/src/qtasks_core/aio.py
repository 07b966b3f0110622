"""The engine's own face: `qtasks.asyncio.QueueTasks`, whose calls are awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from qtasks_core.app import AppFace
from qtasks_core.calls import AsyncTaskFunction, AsyncTaskMaker
from qtasks_core.task import AddCall, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from uuid import UUID

    from qtasks_core.app import App

__all__ = ["QueueTasks"]

P = ParamSpec("P")
R = TypeVar("R")


class QueueTasks(AppFace):
    """A task queue whose calls are awaited. See `AppFace` for the parameters.

    `async with app:` stops the running loop's connections at its end; `await app.stop()` does the same.
    """

    @classmethod
    def of(cls, core: App) -> Self:
        """Return this face of an app that was made with the other one."""
        face = cls.__new__(cls)
        face.core = core
        return face

    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> AsyncTaskFunction[P, R, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        result_ttl: float | None = None,
    ) -> AsyncTaskMaker: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        result_ttl: float | None = None,
    ) -> Any:
        """Make a task of a sync or async function, as `@app.task` or `@app.task(…)`.

        Parameters:
            function: The function; an `async def` runs on the worker's loop, a `def` in a thread.
            name: Its name in the queue; the function's own by default.
            queue: Where its calls go; the app's first queue by default.
            priority: Of its calls, -128 to 127, lower first.
            result_ttl: Seconds that results are kept; the app's setting by default, 0 keeps none.

        Raises:
            RegistrationError: An option is wrong, or the name is taken.
        """
        options = {"name": name, "queue": queue, "priority": priority, "result_ttl": result_ttl}
        return self._declare(AsyncTaskFunction, function, options)

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> AddCall[Any]:
        """Queue a call by name, also of a task whose code is not here; awaited as `AsyncTaskFunction.add_task`."""
        draft = self.core.draft(name, args, kwargs)

        async def send() -> Task[Any]:
            return Task(self.core, await self.core.add(draft))

        return AddCall(name, send)

    async def get(self, uuid: UUID) -> Task[Any]:
        """Return a task by its id.

        Raises:
            ResultExpiredError: Nothing is known of it.
        """
        return Task(self.core, await self.core.record(uuid))

    async def stop(self) -> None:
        """Write what was added and close the running loop's connections; a later call opens them again."""
        await self.core.close_engine()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
