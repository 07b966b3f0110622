"""Sync dependencies of async code: opened and closed in threads, also when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from qtasks_core.worker.threads import ThreadRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Threads"]

logger = logging.getLogger("qtasks.depends")


class Threads:
    """Calls functions in threads for one event loop, the running one.

    Parameters:
        most: Threads at the same time.
    """

    def __init__(self, most: int) -> None:
        self._runner = ThreadRunner(asyncio.get_running_loop(), most, "qtasks-depends")
        self._strays: set[asyncio.Task[None]] = set()

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function returns; who is cancelled waits no more."""
        return await self._runner.run(function, args, kwargs)

    async def enter(self, manager: AbstractContextManager[Any]) -> Any:
        """Enter a context manager. One that is still being entered when the caller is cancelled is left again.

        Parameters:
            manager: The context manager.
        """
        entering = asyncio.create_task(self.call(manager.__enter__))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            stray = asyncio.create_task(self._leave_later(entering, manager))
            self._strays.add(stray)
            stray.add_done_callback(self._strays.discard)
            raise

    async def leave(self, manager: AbstractContextManager[Any], *error: Any) -> Any:
        """Leave a context manager, to the end: what it depends on is left after it, also when the caller is cancelled.

        Parameters:
            manager: The context manager.
            error: Kind, error and traceback, or three times None.
        """
        leaving = asyncio.create_task(self.call(manager.__exit__, *error))
        cancelled: asyncio.CancelledError | None = None
        while not leaving.done():
            try:
                await asyncio.wait([leaving])
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled
        return leaving.result()

    async def close(self, timeout_s: float) -> None:
        """Wait for those that nobody waits for any more, and let the threads end.

        Parameters:
            timeout_s: Seconds to wait; what takes longer is logged, and left alone.
        """
        if self._strays:
            _, late = await asyncio.wait(self._strays, timeout=timeout_s)
            if late:
                logger.error("%d dependencies that were being opened did not come to an end", len(late))
        self._runner.close()

    async def _leave_later(self, entering: asyncio.Task[Any], manager: AbstractContextManager[Any]) -> None:
        try:
            await entering
        except Exception as error:  # noqa: BLE001  # it did not open, and nobody waits for it
            logger.debug("a dependency that nobody waits for did not open: %r", error)
            return
        try:
            await self.call(manager.__exit__, None, None, None)
        except Exception:
            logger.exception("a dependency that nobody waits for did not close cleanly")
