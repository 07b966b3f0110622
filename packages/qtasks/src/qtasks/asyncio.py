"""The awaitable face of QTasks."""

from __future__ import annotations

from qtasks_core.aio import QueueTasks
from qtasks_core.gathering import as_completed, gather
from qtasks_core.routers import AsyncRouter
from qtasks_core.routers import AsyncRouter as Router
from qtasks_core.shared import async_shared_task as shared_task
from qtasks_core.task import Progress, StreamRestart
from qtasks_core.task_context import AsyncTaskContext as TaskContext
from qtasks_core.task_context import current_context

__all__ = [
    "AsyncRouter",
    "Progress",
    "QueueTasks",
    "Router",
    "StreamRestart",
    "TaskContext",
    "as_completed",
    "current_context",
    "gather",
    "shared_task",
]
