"""The core of QTasks: contract, engine, worker. Applications import `qtasks`; plugins import this package."""

from __future__ import annotations

from qtasks_core import errors as exceptions
from qtasks_core.config import QueueConfig
from qtasks_core.version import __version__

__all__ = ["QueueConfig", "__version__", "exceptions"]
