"""How much of each queue a worker may take."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qtasks_core.contract import Broker, Delivery
    from qtasks_core.worker.run import Run

__all__ = ["Quotas"]


class Quotas:
    """Receives no more of a queue than its own concurrency allows.

    Parameters:
        broker: What is received from.
        limits: Most runs of a queue at the same time; one that is not named has no limit of its own.
        runs: The worker's.
        freed: Set when a slot is free again.
    """

    def __init__(self, broker: Broker, limits: Mapping[str, int], runs: Collection[Run], freed: asyncio.Event) -> None:
        self._broker = broker
        self._limits = limits
        self._runs = runs
        self._freed = freed

    async def receive(self, free: int) -> Sequence[Delivery]:
        """Return deliveries; none when the quotas have changed meanwhile and the question is another one."""
        if not self._limits:
            return await self._broker.receive(free)
        running = Counter(run.delivery.envelope.queue for run in self._runs if run.delivery.envelope is not None)
        left = {queue: max(0, limit - running[queue]) for queue, limit in self._limits.items()}
        if all(left.values()):
            return await self._broker.receive(free, left)
        self._freed.clear()
        return await self._receive_unless_freed(free, left)

    async def _receive_unless_freed(self, free: int, left: Mapping[str, int]) -> Sequence[Delivery]:
        receiving = asyncio.ensure_future(self._broker.receive(free, left))
        waiting = asyncio.ensure_future(self._freed.wait())
        try:
            await asyncio.wait([receiving, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                receiving.cancel()  # it strands nothing
                await asyncio.wait([receiving])
            return [] if receiving.cancelled() else receiving.result()
        finally:
            waiting.cancel()
            receiving.cancel()
