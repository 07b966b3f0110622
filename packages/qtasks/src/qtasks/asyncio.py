"""The awaitable face of QTasks."""

from __future__ import annotations

from qtasks_core.aio import QueueTasks

__all__ = ["QueueTasks"]
