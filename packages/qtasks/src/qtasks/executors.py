"""What runs tasks; subclass it to change a step."""

from __future__ import annotations

from qtasks_core.worker.executor import TaskExecutor

__all__ = ["TaskExecutor"]
