"""What a task knows of its own run, in an awaitable and a blocking form: the context follows the function."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from qtasks_core.errors import TaskCancelError, TaskPluginTriggerError
from qtasks_core.messages import envelope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from uuid import UUID

    from qtasks_core.app import AppFace
    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import Envelope, Execution
    from qtasks_core.task import BlockingTask, Task

__all__ = [
    "AsyncTaskContext",
    "BlockingTaskContext",
    "ContextServices",
    "RunningTask",
    "TaskContext",
    "current_context",
    "enter",
    "running_task",
]

_running: ContextVar[RunningTask | None] = ContextVar("qtasks_task", default=None)


class RunningTask(Protocol):
    """A run, which makes its context when somebody asks for it."""

    @property
    def context(self) -> TaskContext:
        """Made when it is first asked for."""
        ...

    @property
    def task_name(self) -> str:
        """The task's name."""
        ...

    @property
    def uuid(self) -> UUID:
        """The task's id."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        ...


class ContextServices(Protocol):
    """What a worker does for the contexts of its runs."""

    @property
    def app(self) -> AppFace:
        """The face that the user made."""
        ...

    def component(self, name: str) -> Any:
        """Return broker, storage, global_config, worker, task_executor or starter."""
        ...

    def mark_progress(self, execution: Any, done: float, total: float | None, message: str) -> None:
        """Keep the last mark; may be called from any thread."""
        ...


class TaskContext:
    """One run of one task, seen from inside.

    Parameters:
        execution: The run.
        services: The worker's.
    """

    def __init__(self, execution: Execution, services: ContextServices) -> None:
        self._execution = execution
        self._services = services
        self._stop = threading.Event()

    @property
    def ctx(self) -> TaskContext:
        """The same; in a task with `echo=True` both `self.ctx` and `self` are known."""
        return self

    @property
    def app(self) -> AppFace:
        """The app."""
        return self._services.app

    @property
    def task_name(self) -> str:
        """The task's name."""
        return self._execution.message.task_name

    @property
    def task_uuid(self) -> UUID:
        """The task's id."""
        return self._envelope.uuid

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._envelope.attempt

    @property
    def queue(self) -> str:
        """Where it came from."""
        return self._envelope.queue

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return self._envelope.priority

    @property
    def headers(self) -> Mapping[str, str]:
        """What the caller gave as headers."""
        return self._execution.message.headers

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end of this run; a `def` task looks at it between its steps."""
        return self._stop.is_set()

    def get_logger(self, name: str | None = None) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger whose records carry task_name, task_uuid and attempt, beside what a call gives as extra.

        Parameters:
            name: Of the logger; `qtasks.task.NAME` by default.
        """
        logger = logging.getLogger(name or f"qtasks.task.{self.task_name}")
        return _TaskLogger(
            logger, {"task_name": self.task_name, "task_uuid": str(self.task_uuid), "attempt": self.attempt}
        )

    def get_config(self) -> QueueConfig:
        """Return the app's settings."""
        return self.app.config

    def get_metadata(self) -> dict[str, Any]:
        """Return what is known of the task: name, uuid, attempt, queue, priority, created_at, headers."""
        return {
            "task_name": self.task_name,
            "task_uuid": self.task_uuid,
            "attempt": self.attempt,
            "queue": self.queue,
            "priority": self.priority,
            "created_at": self._envelope.created_at,
            "headers": dict(self.headers),
        }

    def get_component(self, name: str) -> Any:
        """Return a component of the worker: broker, storage, global_config, worker, task_executor or starter.

        Raises:
            KeyError: There is none of that name.
        """
        return self._services.component(name)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the task is; the last mark is kept with it, earlier ones may be skipped.

        Parameters:
            done: Steps that are done.
            total: Of so many; None is unknown.
            message: For people.
        """
        self._services.mark_progress(self._execution, done, total, message)

    def cancel(self, reason: str = "cancelled by the task itself") -> NoReturn:
        """End this run as cancelled.

        Raises:
            TaskCancelError: Always.
        """
        raise TaskCancelError(reason)

    def plugin_error(self, **kwargs: object) -> NoReturn:
        """Ask the plugins for the result (`task_executor_run_task_trigger_error`).

        Raises:
            TaskPluginTriggerError: Always.
        """
        raise TaskPluginTriggerError(**kwargs)

    def ask_to_stop(self) -> None:
        """Set `cancelled`, and end a blocking `sleep`."""
        self._stop.set()

    @property
    def _envelope(self) -> Envelope:
        return envelope_of(self._execution.delivery)


class AsyncTaskContext(TaskContext):
    """The context of an `async def`: what waits is awaited."""

    async def get_task(self, uuid: UUID) -> Task[Any]:
        """Return another task; see `qtasks.asyncio.QueueTasks.get`."""
        return await self.app.core.aio.get(uuid)

    async def sleep(self, seconds: float) -> None:
        """Sleep; a cancel or a timeout ends it."""
        await asyncio.sleep(seconds)


class BlockingTaskContext(TaskContext):
    """The context of a `def`: what waits blocks its thread."""

    def get_task(self, uuid: UUID) -> BlockingTask[Any]:
        """Return another task; see `qtasks.QueueTasks.get`."""
        from qtasks_core.task import BlockingTask  # noqa: PLC0415  # it needs this module's neighbours

        core = self.app.core
        return core.portal.call(core.get, uuid, BlockingTask)

    def sleep(self, seconds: float) -> None:
        """Sleep; a cancel ends it.

        Raises:
            TaskCancelError: Somebody asked for the end of this run.
        """
        if self._stop.wait(seconds):
            raise TaskCancelError("cancelled while it slept")


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def current_context() -> TaskContext:
    """Return the context of the task that runs here: on this loop's task, or in this thread.

    Raises:
        RuntimeError: No task runs here.
    """
    found = _running.get()
    if found is None:
        raise RuntimeError("current_context() is known inside a running task only")
    return found.context


def running_task() -> RunningTask | None:
    """Return the run that this code belongs to, or None."""
    return _running.get()


enter: Callable[[RunningTask], object] = _running.set
"""Make a run what this contextvars context belongs to from now on."""
