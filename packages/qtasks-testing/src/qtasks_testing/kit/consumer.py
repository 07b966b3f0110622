"""A worker of the kit: a broker that is subscribed, and what it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qtasks_core.contract import Ack, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.contract import Broker, Delivery, PerItem

__all__ = ["Consumer"]


class Consumer:
    """Takes deliveries from a broker as a worker does, with deadlines.

    Parameters:
        broker: A started broker.
        worker: The worker's name.
        patience_s: Seconds until what is waited for has to be there.
        silence_s: Seconds after which nothing is expected to come any more.
    """

    def __init__(self, broker: Broker, worker: str, patience_s: float, silence_s: float) -> None:
        self.broker = broker
        self.worker = worker
        self.lost: list[Delivery] = []
        self._patience_s = patience_s
        self._silence_s = silence_s

    async def subscribe(self, queues: Sequence[str] = ("default",), slots: int = 1000) -> None:
        """Take from *queues* from now on; () pauses."""
        await self.broker.subscribe(queues, self.worker, slots, self.lost.extend)

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Receive once, and check that it is 1..limit.

        Raises:
            AssertionError: Nothing came in time, or more than *limit*.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                got = await self.broker.receive(limit, per_queue)
        except TimeoutError:
            raise AssertionError(f"{self.worker}: nothing was received within {self._patience_s} s") from None
        assert 1 <= len(got) <= limit, f"expected 1..{limit} deliveries, got {len(got)}"
        return got

    async def take(self, count: int = 1) -> list[Delivery]:
        """Receive until there are *count* deliveries.

        Raises:
            AssertionError: They did not come in time.
        """
        got: list[Delivery] = []
        while len(got) < count:
            got += await self.receive(count - len(got))
        return got

    async def take_one(self) -> Delivery:
        """Receive one delivery."""
        return (await self.take(1))[0]

    async def drain(self, limit: int = 1000, per_queue: Mapping[str, int] | None = None) -> list[Delivery]:
        """Receive until nothing more comes."""
        got: list[Delivery] = []
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    more = await self.broker.receive(limit, per_queue)
            except TimeoutError:
                return got
            assert 1 <= len(more) <= limit, f"expected 1..{limit} deliveries, got {len(more)}"
            got += more

    async def settle(self, *outcomes: Outcome) -> PerItem:
        """Settle, and check that the answer is as long as what was asked."""
        answers = await self.broker.settle(outcomes)
        assert len(answers) == len(outcomes)
        return answers

    async def ack(self, *deliveries: Delivery) -> None:
        """Settle as finished, and check that each was ours."""
        answers = await self.settle(*(Outcome(delivery, Ack()) for delivery in deliveries))
        assert list(answers) == [None] * len(deliveries)
