"""Code around the adding, the run and the result of tasks."""

from __future__ import annotations

from qtasks_core.contract import Execution
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.options import Draft
from qtasks_core.triggers import Replace

__all__ = ["Draft", "Execution", "Replace", "TaskMiddleware"]
