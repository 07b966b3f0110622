"""The engine's own face: `qtasks.asyncio.QueueTasks`, whose calls are awaited."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from qtasks_core.app import AppFace
from qtasks_core.calls import AsyncCaller, AsyncTaskFunction
from qtasks_core.makers import TaskMaker
from qtasks_core.operations import AsyncOperations
from qtasks_core.options import CallOptions, checked_call
from qtasks_core.task import Task

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from qtasks_core.config import WorkerOptions
    from qtasks_core.embedding import EmbeddedWorker
    from qtasks_core.makers import AsyncTaskMaker
    from qtasks_core.task import AddCall

__all__ = ["QueueTasks"]


class QueueTasks(AsyncOperations, AppFace):
    """A task queue whose calls are awaited. See `AppFace` for the parameters.

    `async with app:` stops the running loop's connections at its end; `await app.stop()` does the same.
    """

    @property
    def task(self) -> AsyncTaskMaker:
        """Make a task of a function, as `@app.task` or `@app.task(…)`; see `TaskOptions` for the options.

        An `async def` runs on the worker's loop, a `def` in a thread; both may be generators.

        Raises:
            RegistrationError: (when called) an option is wrong, or the name is taken.
        """
        return TaskMaker(partial(self._declare, AsyncTaskFunction))

    def with_options(self, **options: Unpack[CallOptions]) -> AsyncCaller:
        """Return a way to queue calls by name with options; see `CallOptions`.

        Raises:
            ConfigError: An option is unknown, of the wrong type or out of range.
        """
        return AsyncCaller(self.core, checked_call(options))

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> AddCall[Any]:
        """Queue a call by name, also of a task whose code is not here; as `AsyncTaskFunction.add_task`."""
        return AsyncCaller(self.core, {}).add_task(name, *args, **kwargs)

    async def get(self, uuid: UUID) -> Task[Any]:
        """Return a task by its id.

        Raises:
            ResultExpiredError: Nothing is known of it.
        """
        return await self.core.get(uuid, Task)

    def worker(self, **options: Unpack[WorkerOptions]) -> EmbeddedWorker:
        """Return a worker for the running loop, beside the program's other work: `async with app.worker(): …`.

        Parameters:
            options: See `WorkerOptions`.

        Raises:
            ConfigError: One of them is of the wrong type or out of range.
        """
        from qtasks_core.embedding import EmbeddedWorker  # noqa: PLC0415  # clients never need it

        return EmbeddedWorker(self.core, self._run_options(**options))

    async def stop(self) -> None:
        """Write what was added and close the running loop's connections, but not those that a worker needs.

        A later call opens them again.
        """
        await self.core.close_engine()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
