"""The blocking face: `qtasks.QueueTasks`, the same app behind calls that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from qtasks_core.app import AppFace
from qtasks_core.calls import BlockingTaskFunction, BlockingTaskMaker
from qtasks_core.task import BlockingTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from uuid import UUID

    from qtasks_core.aio import QueueTasks as AsyncQueueTasks

__all__ = ["QueueTasks"]

P = ParamSpec("P")
R = TypeVar("R")


class QueueTasks(AppFace):
    """A task queue whose calls block. See `AppFace` for the parameters.

    Its calls cross to one event loop in a daemon thread, or to the worker's own when one runs in this process.
    """

    @property
    def aio(self) -> AsyncQueueTasks:
        """The awaitable face of the same app."""
        return self.core.aio

    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> BlockingTaskFunction[P, R, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        result_ttl: float | None = None,
    ) -> BlockingTaskMaker: ...
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
        return self._declare(BlockingTaskFunction, function, options)

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> BlockingTask[Any]:
        """Queue a call by name, also of a task whose code is not here; as `BlockingTaskFunction.add_task`."""
        draft = self.core.draft(name, args, kwargs)
        return BlockingTask(self.core, self.core.portal.call(self.core.add, draft, hint="app.aio.add_task(…)"))

    def get(self, uuid: UUID) -> BlockingTask[Any]:
        """Return a task by its id; see `qtasks.asyncio.QueueTasks.get`."""
        return BlockingTask(self.core, self.core.portal.call(self.core.record, uuid, hint="app.aio.get(…)"))

    def stop(self) -> None:
        """Stop a worker that runs in this process, write what was added and close the connections.

        A later call opens them again.
        """
        self.core.stop_worker()
        self.core.portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
