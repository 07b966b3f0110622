"""The end of an event loop: what does not end is left behind, and waited for by nobody."""

from __future__ import annotations

import asyncio
import logging

__all__ = ["close_loop"]

logger = logging.getLogger("qtasks.engine")

_CANCEL_TIMEOUT_S = 1.0


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop that does not run any more, wait a second for it to end, and close the loop.

    `asyncio.Runner` has no such limit: one coroutine that does not listen to its cancellation, or one thread of
    `asyncio.to_thread` that does not end, would hold up the end of a worker for ever.

    Parameters:
        loop: Not running, not closed.
    """
    try:
        left = loop.run_until_complete(_cancel_rest())
        if left:
            logger.warning("%d coroutines do not listen to their cancellation: they are left behind", left)
        else:
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _cancel_rest() -> int:
    """Let nobody wait for ever for a loop that has stopped: what is done is handed over, the rest cancelled."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    left = (await asyncio.wait(rest, timeout=_CANCEL_TIMEOUT_S))[1] if rest else ()
    await asyncio.sleep(0)
    return len(left)
