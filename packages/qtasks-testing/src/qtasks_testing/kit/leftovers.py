"""What calls leave behind that came to nothing: nothing, or a process that waits for weeks fills its memory."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

__all__ = ["leftovers", "read_and_leave"]

WARM_UP = 30
TIMES = 200


async def leftovers(call: Callable[[], Awaitable[object]]) -> float:
    """Return how many objects a call leaves behind for good; less than one is noise.

    Parameters:
        call: Is made some hundred times; what it needs for the first time (caches, connections) does not count.
    """
    await _repeat(call, WARM_UP)
    before = await _objects()
    await _repeat(call, TIMES)
    return (await _objects() - before) / TIMES


async def read_and_leave(items: AsyncIterator[object], count: int) -> None:
    """Read *count* items, begin to wait for one more, and leave."""
    async with aclosing(cast("AsyncGenerator[Any, None]", items)):
        for _ in range(count):
            await anext(items)
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _repeat(call: Callable[[], Awaitable[object]], times: int) -> None:
    for _ in range(times):
        await call()


async def _objects() -> int:
    for _ in range(5):
        await asyncio.sleep(0.01)  # what was cancelled comes to its end
    gc.collect()
    return len(gc.get_objects())
