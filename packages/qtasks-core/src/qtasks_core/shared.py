"""Shared tasks: those of library code, which every app of the process takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtasks_core.calls import AsyncTaskFunction, BlockingTaskFunction
from qtasks_core.makers import TaskMaker
from qtasks_core.routers import Routes

if TYPE_CHECKING:
    from qtasks_core.makers import AsyncTaskMaker, BlockingTaskMaker

__all__ = ["SHARED", "async_shared_task", "shared_task"]

SHARED = Routes("shared_task", "there is no app in this process")
"""All of them; each app takes them when it is made, and later ones when they are declared."""

shared_task: BlockingTaskMaker = TaskMaker(partial(SHARED.declare, BlockingTaskFunction))
"""Make a task for every app of the process, as `app.task` does for one: for libraries, which know no app."""

async_shared_task: AsyncTaskMaker = TaskMaker(partial(SHARED.declare, AsyncTaskFunction))
"""The same, typed for `await`."""
