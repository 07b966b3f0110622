"""What the commands share that ask an app for something: its engine for the time of the question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from qtasks_core.cli.failures import failure_of
from qtasks_core.errors import QTasksError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qtasks_core.aio import QueueTasks
    from qtasks_core.app import App

__all__ = ["ask"]

T = TypeVar("T")


def ask(core: App, question: Callable[[QueueTasks], Coroutine[Any, Any, T]]) -> T:
    """Return what *question* answers, given the awaitable face.

    Raises:
        ClickException: An error of QTasks, told without a traceback.
    """

    async def whole() -> T:
        async with core.aio as app:
            return await question(app)

    try:
        return asyncio.run(whole())
    except QTasksError as error:
        raise failure_of(error) from error
