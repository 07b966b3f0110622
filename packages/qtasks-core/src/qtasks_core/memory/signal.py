"""How any thread wakes a coroutine that waits on its own loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Signal"]

T = TypeVar("T")

_SHORTEST_S = 0.001  # a frozen clock must not make a timer spin


class Signal(Generic[T]):
    """A future of the running loop that is resolved once, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T | None] = self._loop.create_future()

    async def wait(self, seconds: float | None = None) -> T | None:
        """Return what was given, or None when *seconds* are over (None: no limit)."""
        if seconds is None:
            return await self._future
        timer = self._loop.call_later(max(seconds, _SHORTEST_S), self._resolve, None)
        try:
            return await self._future
        finally:
            timer.cancel()

    def give(self, value: T | None = None) -> None:
        """Wake the waiter with *value*; later ones are ignored."""
        call_on(self._loop, self._resolve, value)

    def fail(self, error: Exception) -> None:
        """Wake the waiter with *error*."""
        call_on(self._loop, self._reject, error)

    def _resolve(self, value: T | None) -> None:
        if not self._future.done():
            self._future.set_result(value)

    def _reject(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
    """Call *function* on *loop*, from any thread; a loop that is closed has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
