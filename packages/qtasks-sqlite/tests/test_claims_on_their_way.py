"""A claim that is done while its answer is still on its way: cancelled, evicted, stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from qtasks_core.errors import UnavailableError
from qtasks_sqlite import SqliteBroker
from qtasks_sqlite._claiming import ClaimCall
from qtasks_testing.kit import Bench, Subject
from qtasks_testing.kit.samples import envelope, envelopes, uuids_of
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from qtasks_testing.kit import Consumer


class LateAnswer:
    """A broker's database that answers the first claim when it is let, and everything else at once."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._claimed = False
        self.done = asyncio.Event()
        self.arrives = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write(self, run: Callable[..., Any], *, durable: bool = True) -> asyncio.Future[Any]:
        job: asyncio.Future[Any] = self._database.write(run, durable=durable)
        if self._claimed or getattr(run, "__func__", None) is not ClaimCall.run:
            return job
        self._claimed = True
        return asyncio.ensure_future(self._later(job))

    async def _later(self, job: asyncio.Future[Any]) -> Any:
        answer = await asyncio.shield(job)
        self.done.set()
        await self.arrives.wait()
        return answer


class Late:
    """A worker that has taken the only message, and has not heard of it yet."""

    def __init__(self, bench: Bench, consumer: Consumer) -> None:
        self.consumer = consumer
        self.broker = cast("SqliteBroker", consumer.broker)
        self.answer = LateAnswer(self.broker._database)
        self.broker._database = cast("Any", self.answer)
        self.lease = self.broker.lease
        self.receiving = asyncio.create_task(self.broker.receive(1))
        self._bench = bench

    async def evict(self) -> int:
        """Evict the worker as an operator does, and wait until it has noticed."""
        operator = cast("SqliteBroker", await self._bench.broker())
        taken = await operator.evict(self.consumer.worker)
        await eventually(lambda: self.broker.lease not in {None, self.lease}, what="it has begun a new life")
        return taken

    async def cancel(self) -> None:
        """Cancel its call."""
        self.receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.receiving


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(Subject(f"sqlite:///{tmp_path}/late.db", broker=SqliteBroker, movable_clock=True), "broker")
    yield bench
    await bench.close()


@pytest.fixture
async def late(bench: Bench) -> Late:
    await (await bench.sender()).send(envelopes(1))
    late = Late(bench, await bench.consumer("late"))
    await asyncio.wait_for(late.answer.done.wait(), bench.patience_s)
    assert (await late.broker.depth("default")).running == 1
    return late


async def test_a_cancelled_claim_goes_back_uncharged(bench: Bench, late: Late) -> None:
    """Nobody has seen it: an eviction that comes later finds nothing, and tells nothing."""
    await late.cancel()

    assert await late.evict() == 0
    again = await (await bench.consumer("other")).drain()
    assert [(delivery.crashes, delivery.suspect) for delivery in again] == [(0, False)]
    assert late.consumer.lost == []


async def test_a_cancelled_claim_is_there_for_the_next_call(late: Late) -> None:
    """Of the same worker too, and what settles it is the newer claim."""
    await late.cancel()

    held = await late.consumer.take_one()

    assert (held.crashes, held.suspect) == (0, False)
    await late.consumer.ack(held)


async def test_an_eviction_before_the_cancellation_is_not_told(bench: Bench, late: Late) -> None:
    """It is charged, since the file says that it was held; but lost() names nothing that the worker never saw."""
    assert await late.evict() == 1
    await late.cancel()

    again = await (await bench.consumer("other")).drain()
    assert [(delivery.crashes, delivery.suspect) for delivery in again] == [(1, True)]
    assert late.consumer.lost == []


async def test_what_was_evicted_on_its_way_is_not_returned(bench: Bench, late: Late) -> None:
    """It is another worker's by now: the call goes on to wait, and returns what is there for it."""
    await late.evict()
    [again] = await (await bench.consumer("other")).drain()

    late.answer.arrives.set()
    await (await bench.sender()).send([sent := envelope()])

    got = await late.receiving
    assert uuids_of(got) == [sent.uuid]
    assert again not in got
    await late.consumer.ack(*got)
    assert late.consumer.lost == []


async def test_a_late_cancellation_takes_nothing_from_the_next_life(late: Late) -> None:
    """The worker has the same message again: what the former claim gives back is not that."""
    await late.evict()
    held = await late.consumer.take_one()

    await late.cancel()

    await late.consumer.ack(held)
    assert late.consumer.lost == []


async def test_an_answer_after_the_end_is_nobodys(bench: Bench, late: Late) -> None:
    """The message was given back when the worker stopped: it is not returned beside that."""
    await late.broker.stop()
    late.answer.arrives.set()

    with pytest.raises(UnavailableError, match="was stopped"):
        await late.receiving
    again = await (await bench.consumer("other")).drain()
    assert [(delivery.crashes, delivery.suspect) for delivery in again] == [(0, False)]
