"""What runs tasks; subclass it to change a step."""

from __future__ import annotations

from qtasks_core.worker.executor import TaskExecutor
from qtasks_core.worker.processes import ProcessTaskExecutor

__all__ = ["AsyncTaskExecutor", "ProcessTaskExecutor", "SyncTaskExecutor", "TaskExecutor"]

AsyncTaskExecutor = SyncTaskExecutor = TaskExecutor  # one class: the kind of the function decides
