"""How a worker takes deliveries, and how it is kept from it for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.contract import Broker, Delivery

__all__ = ["Taking"]


class Taking:
    """Takes deliveries for one task of the loop.

    Parameters:
        broker: Where from.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._may_take = asyncio.Event()
        self._may_take.set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._taker: asyncio.Task[None] | None = None
        self._is_interrupted = False
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for deliveries; return none when that was held off meanwhile, or is to be asked again.

        Parameters:
            limit: Most of them.
            per_queue: Most of a queue.
        """
        if not self._may_take.is_set():
            await self._may_take.wait()
            return ()
        self._taker = asyncio.current_task()
        self._is_idle.clear()
        try:
            deliveries = await self._broker.receive(limit, per_queue)
        except asyncio.CancelledError:
            if not self._was_interrupted():
                raise
            return ()
        else:
            self._was_interrupted()  # a broker that does not listen has given what it had
            return deliveries
        finally:
            self._taker = None
            self._is_idle.set()

    async def hold_off(self, longest_s: float) -> None:
        """Take nothing until `go_on`, or until *longest_s* seconds are over; return when nothing is being taken."""
        self._may_take.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(longest_s, self.go_on)
        self.ask_again()
        await self._is_idle.wait()

    def ask_again(self) -> None:
        """Have who waits for deliveries come back without any: the question is another one now."""
        if self._taker is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._taker.cancel()

    def go_on(self) -> None:
        """Take again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._may_take.set()

    def _was_interrupted(self) -> bool:
        """Tell whether it was this object alone that cancelled the taker, and take that back."""
        interrupted, self._is_interrupted = self._is_interrupted, False
        return interrupted and self._taker is not None and not self._taker.uncancel()
