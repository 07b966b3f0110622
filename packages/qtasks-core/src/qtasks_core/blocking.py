"""The blocking face: `qtasks.QueueTasks`, the same app behind calls that wait."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from qtasks_core.app import AppFace
from qtasks_core.calls import BlockingCaller, BlockingTaskFunction
from qtasks_core.makers import TaskMaker
from qtasks_core.operations import BlockingOperations
from qtasks_core.options import CallOptions, checked_call
from qtasks_core.task import BlockingTask

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from qtasks_core.aio import QueueTasks as AsyncQueueTasks
    from qtasks_core.config import WorkerOptions
    from qtasks_core.embedding import BlockingEmbeddedWorker
    from qtasks_core.makers import BlockingTaskMaker

__all__ = ["QueueTasks"]


class QueueTasks(BlockingOperations, AppFace):
    """A task queue whose calls block. See `AppFace` for the parameters.

    Its calls cross to one event loop in a daemon thread, or to the worker's own when one runs in this process.
    """

    @property
    def aio(self) -> AsyncQueueTasks:
        """The awaitable face of the same app."""
        return self.core.aio

    @property
    def task(self) -> BlockingTaskMaker:
        """Make a task of a function, as `@app.task` or `@app.task(…)`; see `TaskOptions` for the options.

        An `async def` runs on the worker's loop, a `def` in a thread; both may be generators.

        Raises:
            RegistrationError: (when called) an option is wrong, or the name is taken.
        """
        return TaskMaker(partial(self._declare, BlockingTaskFunction))

    def with_options(self, **options: Unpack[CallOptions]) -> BlockingCaller:
        """Return a way to queue calls by name with options; see `CallOptions`.

        Raises:
            ConfigError: An option is unknown, of the wrong type or out of range.
        """
        return BlockingCaller(self.core, checked_call(options))

    def add_task(self, name: str, /, *args: Any, **kwargs: Any) -> BlockingTask[Any]:
        """Queue a call by name, also of a task whose code is not here; as `BlockingTaskFunction.add_task`."""
        return BlockingCaller(self.core, {}).add_task(name, *args, **kwargs)

    def get(self, uuid: UUID) -> BlockingTask[Any]:
        """Return a task by its id; see `qtasks.asyncio.QueueTasks.get`."""
        return self.core.portal.call(self.core.get, uuid, BlockingTask, hint="app.aio.get(…)")

    def worker(self, **options: Unpack[WorkerOptions]) -> BlockingEmbeddedWorker:
        """Return a worker that runs in a thread, beside the program's other work: `with app.worker(): …`.

        Parameters:
            options: See `WorkerOptions`.

        Raises:
            ConfigError: One of them is of the wrong type or out of range.
        """
        from qtasks_core.embedding import BlockingEmbeddedWorker  # noqa: PLC0415  # clients never need it

        return BlockingEmbeddedWorker(self.core, self._run_options(**options))

    def stop(self) -> None:
        """Stop the workers that run in this process, write what was added and close the connections.

        A later call opens them again.
        """
        self.core.stop_worker()
        self.core.close_portal()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
