"""A bounded space on one event loop: who finds it full waits, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Room"]


class Room:
    """Counts what is inside, and lets in who waits when something leaves.

    Who comes while others wait goes behind them: an old caller is never starved by quicker ones.

    Parameters:
        items: Most items inside.
        size: Bytes at which it is full; the last item let in may exceed them.
    """

    def __init__(self, items: int, size: int) -> None:
        self._most_items = items
        self._most_size = size
        self._items = 0
        self._size = 0
        self._turns: deque[tuple[asyncio.Future[None], int]] = deque()
        self._closed: Exception | None = None

    @property
    def is_full(self) -> bool:
        """Whether nobody is let in."""
        return self._items >= self._most_items or self._size >= self._most_size

    def take(self, size: int) -> None:
        """Go in, full or not."""
        self._items += 1
        self._size += size

    def try_take(self, size: int) -> bool:
        """Go in when there is room and nobody waits for it; return whether it worked."""
        if self._turns or self._items >= self._most_items or self._size >= self._most_size or self._closed:
            return False
        self._items += 1
        self._size += size
        return True

    async def wait(self, size: int, deadline: float) -> None:
        """Wait for a turn; go in.

        Parameters:
            size: Bytes.
            deadline: On the loop's clock.

        Raises:
            TimeoutError: There was no room in time.
            Exception: What `close` was given.
        """
        if self._closed:
            raise self._closed
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append((turn, size))
        self._let_in()
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(1, size)  # let in, but gone: the next one has the turn
            raise

    def leave(self, items: int, size: int) -> None:
        """Make room.

        Parameters:
            items: How many leave.
            size: Their bytes.
        """
        self._items -= items
        self._size -= size
        if self._turns:
            self._let_in()

    def close(self, error: Exception) -> None:
        """Let nobody in any more; who waits, and who comes later, gets the error."""
        self._closed = error
        while self._turns:
            turn, _ = self._turns.popleft()
            if not turn.done():
                turn.set_exception(error)

    def _let_in(self) -> None:
        while self._turns and not self.is_full:
            turn, size = self._turns.popleft()
            if not turn.done():
                self.take(size)
                turn.set_result(None)
