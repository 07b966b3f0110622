"""How long a run may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from qtasks_core.errors import TaskTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["within"]

T = TypeVar("T")


async def within(limit_s: float, work: Awaitable[T]) -> T:
    """Wait for *work*, and cancel it when it takes longer.

    Parameters:
        limit_s: Seconds that it may take.
        work: The run.

    Raises:
        TaskTimeoutError: It took longer.
    """
    scope = asyncio.timeout(limit_s)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise TaskTimeoutError(f"the run took longer than its timeout of {limit_s:g} s") from None
        raise
