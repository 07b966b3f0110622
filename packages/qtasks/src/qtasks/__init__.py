"""QTasks: a task queue for Python.

The blocking face is here, the awaitable one in `qtasks.asyncio`. Both register sync and async functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.blocking import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.extras import names_of
from qtasks_core.gathering import as_completed_blocking as as_completed
from qtasks_core.gathering import gather_blocking as gather
from qtasks_core.routers import AsyncRouter, SyncRouter
from qtasks_core.routers import SyncRouter as Router
from qtasks_core.shared import shared_task
from qtasks_core.task import Progress, StreamRestart
from qtasks_core.task_context import BlockingTaskContext as TaskContext
from qtasks_core.task_context import current_context
from qtasks_core.task_logs import TaskLogFilter
from qtasks_core.version import __version__

if TYPE_CHECKING:
    from qtasks_depends import Depends as Depends  # it is public

__all__ = [
    "AsyncRouter",
    "Progress",
    "QueueConfig",
    "QueueTasks",
    "Router",
    "StreamRestart",
    "SyncRouter",
    "TaskContext",
    "TaskLogFilter",
    "__version__",
    "as_completed",
    "current_context",
    "gather",
    "shared_task",
]

__getattr__ = names_of(__name__, {"Depends": "depends"})
