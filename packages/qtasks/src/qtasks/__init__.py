"""QTasks: a task queue for Python.

The blocking face is here, the awaitable one in `qtasks.asyncio`. Both register sync and async functions.
"""

from __future__ import annotations

from qtasks_core.blocking import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.version import __version__

__all__ = ["QueueConfig", "QueueTasks", "__version__"]
