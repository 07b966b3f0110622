"""Who is woken on memory://: one idle receiver by one message, and none is missed; across threads and clocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from qtasks_core.contract import Delivery, Release
from qtasks_core.memory import MemoryBroker, MemoryServer, MemoryStorage
from qtasks_testing import eventually
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import envelope, envelope_of, envelopes, final, outcome, record, uuids_of

URL = "memory://"


class Fleet:
    """Workers of one app whose receive() calls wait."""

    def __init__(self) -> None:
        self.context = KitContext()
        self.server = MemoryServer.shared(URL, self.context)
        self.broker = MemoryBroker(URL, self.context)
        self._calls: list[asyncio.Task[Sequence[Delivery]]] = []

    @property
    def idle(self) -> int:
        return len(self.server.exchange._idle)

    async def receiving(
        self, worker: str, limit: int = 1, per_queue: dict[str, int] | None = None, queues: Sequence[str] = ("default",)
    ) -> asyncio.Task[Sequence[Delivery]]:
        """Return a receive() call that waits."""
        broker = MemoryBroker(URL, self.context.seen_by(worker))
        await broker.subscribe(queues, worker, 10, lambda _: None)
        return await self.receiving_on(broker, limit, per_queue)

    async def receiving_on(
        self, broker: MemoryBroker, limit: int = 1, per_queue: dict[str, int] | None = None
    ) -> asyncio.Task[Sequence[Delivery]]:
        before = self.idle
        call = asyncio.create_task(broker.receive(limit, per_queue))
        self._calls.append(call)
        await eventually(lambda: self.idle == before + 1, what="the call waits")
        return call

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    await fleet.close()


async def got(call: asyncio.Task[Sequence[Delivery]]) -> list[UUID]:
    async with asyncio.timeout(10):
        return uuids_of(await call)


# ---------------------------------------------------------------- fair


async def test_one_message_wakes_one_receiver(fleet: Fleet) -> None:
    """The one that has been idle longest; the others sleep on."""
    first, second, third = [await fleet.receiving(name) for name in ("w1", "w2", "w3")]
    sent = envelope()

    await fleet.broker.send([sent])

    assert 2 == fleet.idle
    assert [sent.uuid] == await got(first)
    assert (False, False, 2) == (second.done(), third.done(), fleet.idle)


async def test_each_message_of_a_batch_wakes_one(fleet: Fleet) -> None:
    """Two messages are shared by the two that have been idle longest."""
    calls = [await fleet.receiving(name) for name in ("w1", "w2", "w3")]
    sent = envelopes(2)

    await fleet.broker.send(sent)

    assert [[one.uuid] for one in sent] == [await got(call) for call in calls[:2]]
    assert not calls[2].done()


async def test_a_message_wakes_only_who_may_take_it(fleet: Fleet) -> None:
    """Not who reads other queues, and not whose limit of that queue is reached."""
    other = await fleet.receiving("w1", queues=["other"])
    full = await fleet.receiving("w2", per_queue={"default": 0}, queues=["default", "other"])
    able = await fleet.receiving("w3")
    sent = envelope()

    await fleet.broker.send([sent])

    assert [sent.uuid] == await got(able)
    assert (False, False, 2) == (other.done(), full.done(), fleet.idle)


async def test_who_leaves_something_wakes_the_next(fleet: Fleet) -> None:
    """A receiver that finds more than it may take rings one that is idle, whose timer is not over yet."""
    call = await fleet.receiving("w1")
    sent = envelopes(2, delay_s=3600)
    await fleet.broker.send(sent)
    await eventually(lambda: fleet.idle == 1)
    other = MemoryBroker(URL, fleet.context.seen_by("w2"))
    await other.subscribe(["default"], "w2", 10, lambda _: None)

    fleet.context._app.ahead_s += 3601  # not advance(), which would wake the idle one itself

    assert [sent[0].uuid] == uuids_of(await other.receive(1))
    assert [sent[1].uuid] == await got(call)


# ---------------------------------------------------------------- none is missed


async def test_a_call_cancelled_after_its_bell_passes_it_on(fleet: Fleet) -> None:
    """The message goes to the next that is idle, with no further send."""
    first = await fleet.receiving("w1")
    second = await fleet.receiving("w2")
    sent = envelope()
    await fleet.broker.send([sent])

    first.cancel()

    assert [sent.uuid] == await got(second)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_call_cancelled_before_any_bell_is_rung_no_more(fleet: Fleet) -> None:
    """It does not swallow the bell of a later message."""
    first = await fleet.receiving("w1")
    second = await fleet.receiving("w2")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    sent = envelope()

    await fleet.broker.send([sent])

    assert [sent.uuid] == await got(second)


async def test_a_call_whose_subscription_changes_passes_its_bell_on(fleet: Fleet) -> None:
    """Rung for a queue that it does not read any more, it wakes another."""
    broker = MemoryBroker(URL, fleet.context.seen_by("w1"))
    await broker.subscribe(["default"], "w1", 10, lambda _: None)
    first = await fleet.receiving_on(broker)
    second = await fleet.receiving("w2")
    sent = envelope()
    await fleet.broker.send([sent])

    await broker.subscribe(["other"], "w1", 10, lambda _: None)

    assert [sent.uuid] == await got(second)
    assert not first.done()


async def test_a_call_that_is_stopped_passes_its_bell_on(fleet: Fleet) -> None:
    """It ends with an error, since nothing can come any more; the message goes to another."""
    broker = MemoryBroker(URL, fleet.context.seen_by("w1"))
    await broker.subscribe(["default"], "w1", 10, lambda _: None)
    first = await fleet.receiving_on(broker)
    second = await fleet.receiving("w2")
    sent = envelope()
    await fleet.broker.send([sent])

    await broker.stop()

    assert [sent.uuid] == await got(second)
    with pytest.raises(RuntimeError, match="subscribe"):
        await first


async def test_a_waiting_call_survives_an_eviction(fleet: Fleet) -> None:
    """Its worker begins a new life, and receives."""
    call = await fleet.receiving("w1")
    await fleet.broker.evict("w1")
    await eventually(lambda: fleet.idle == 1)
    sent = envelope()

    await fleet.broker.send([sent])

    assert [sent.uuid] == await got(call)


async def test_a_paused_call_goes_on_when_there_is_something_to_read(fleet: Fleet) -> None:
    """The same call waits through the pause, and sees what came in it."""
    broker = MemoryBroker(URL, fleet.context.seen_by("w1"))
    await broker.subscribe([], "w1", 10, lambda _: None)
    call = await fleet.receiving_on(broker)
    sent = envelope()
    await fleet.broker.send([sent])
    assert 1 == fleet.idle

    await broker.subscribe(["default"], "w1", 10, lambda _: None)

    assert [sent.uuid] == await got(call)


async def test_what_is_given_back_wakes_who_is_idle(fleet: Fleet) -> None:
    """By a release as by an eviction or a stop."""
    holder = MemoryBroker(URL, fleet.context.seen_by("holder"))
    await holder.subscribe(["default"], "holder", 10, lambda _: None)
    await fleet.broker.send(envelopes(3))
    released, *_ = await holder.receive(3)
    calls = [await fleet.receiving(name) for name in ("w1", "w2", "w3")]

    await holder.settle([outcome(released, Release())])
    await holder.stop()

    assert 3 == len({uuid for call in calls for uuid in await got(call)})


# ---------------------------------------------------------------- time


async def test_a_moved_clock_wakes_who_sleeps(fleet: Fleet) -> None:
    """touch() makes sleepers look at the clock again; without a move they sleep on."""
    call = await fleet.receiving("w1")
    sent = envelope(delay_s=3600)
    await fleet.broker.send([sent])
    fleet.server.touch()
    await eventually(lambda: fleet.idle == 1)

    fleet.context.advance(3601)

    assert [sent.uuid] == await got(call)


async def test_a_nearer_due_time_sets_every_timer(fleet: Fleet) -> None:
    """Whoever of the idle remains has its timer for the next due message."""
    calls = [await fleet.receiving(name) for name in ("w1", "w2", "w3")]
    for sent in (envelope(delay_s=3600), envelope(delay_s=0.1)):
        await fleet.broker.send([sent])
        await eventually(lambda: fleet.idle == 3)
    calls[1].cancel()
    calls[2].cancel()

    assert [sent.uuid] == await got(calls[0])


async def test_no_timer_is_left_behind(fleet: Fleet) -> None:
    """A receiver that was rung does not keep the loop's timer for what it had waited for."""
    loop: Any = asyncio.get_running_loop()
    call = await fleet.receiving("w1")
    await fleet.broker.send([envelope(delay_s=7200)])
    await eventually(lambda: fleet.idle == 1)

    await fleet.broker.send([envelope()])
    await got(call)

    assert [] == [timer for timer in loop._scheduled if timer.when() > loop.time() + 3600 and not timer.cancelled()]


async def test_due_messages_share_the_idle(fleet: Fleet) -> None:
    """What becomes due at the same time is taken by all that are idle, each once."""
    calls = [await fleet.receiving(name) for name in ("w1", "w2", "w3")]
    sent = envelopes(3, delay_s=60)
    await fleet.broker.send(sent)
    await eventually(lambda: fleet.idle == 3)

    fleet.context.advance(61)

    assert sorted(one.uuid for one in sent) == sorted([(await got(call))[0] for call in calls])


async def test_a_frozen_clock_does_not_make_timers_spin() -> None:
    """A due time that never comes costs a look each time it was expected, not a loop."""
    looks = 0

    class Frozen(KitContext):
        def clock(self) -> float:
            nonlocal looks
            looks += 1
            return 1000.0

    broker = MemoryBroker(URL, Frozen())
    await broker.subscribe(["default"], "w1", 10, lambda _: None)
    await broker.send([envelope(due_at=1000.0000001)])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(broker.receive(1), 0.1)

    assert looks < 300


# ---------------------------------------------------------------- threads


async def elsewhere(use: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on a loop of its own, in a thread."""
    return await asyncio.to_thread(lambda: asyncio.run(use()))


async def test_loops_in_threads_share_the_work(fleet: Fleet) -> None:
    """Two workers and two clients, each on its own loop: every task runs once, and every waiter is woken."""
    ran: list[UUID] = []

    async def work(worker: str) -> None:
        broker = MemoryBroker(URL, fleet.context.seen_by(worker))
        await broker.subscribe(["default", f"end of {worker}"], worker, 10, lambda _: None)
        while True:
            deliveries = await broker.receive(7)
            if envelope_of(deliveries[0]).queue != "default":
                return
            ran.extend(uuids_of(deliveries))
            await broker.finish_and_settle([outcome(one, record=final(envelope_of(one))) for one in deliveries])

    async def submit() -> list[UUID]:
        broker, storage = MemoryBroker(URL, fleet.context), MemoryStorage(URL, fleet.context)
        sent = envelopes(200)
        for start in range(0, 200, 5):
            await broker.add_and_send([(record(one), one) for one in sent[start : start + 5]])
            await asyncio.sleep(0)
        return [(await storage.wait(one.uuid, 30)).uuid for one in sent]

    workers = [asyncio.create_task(elsewhere(partial(work, name))) for name in ("w1", "w2")]
    ended = await asyncio.gather(elsewhere(submit), elsewhere(submit))
    await fleet.broker.send([envelope(f"end of {name}") for name in ("w1", "w2")])
    await asyncio.gather(*workers)

    assert sorted([*ended[0], *ended[1]]) == sorted(ran)


async def test_the_lost_are_told_on_their_own_loop(fleet: Fleet) -> None:
    """An eviction by another thread calls lost() where the worker subscribed."""
    told: list[int] = []
    ready, done = threading.Event(), threading.Event()

    async def work() -> int:
        broker = MemoryBroker(URL, fleet.context.seen_by("w1"))
        await broker.subscribe(["default"], "w1", 10, lambda _: told.append(threading.get_ident()))
        await broker.receive(1)
        ready.set()
        await eventually(lambda: told)
        done.set()
        return threading.get_ident()

    await fleet.broker.send([envelope()])
    worker = asyncio.create_task(elsewhere(work))
    await asyncio.to_thread(ready.wait, 10)

    assert 1 == await fleet.broker.evict("w1")

    assert [await worker] == told


async def test_a_loop_that_is_gone_is_no_error(fleet: Fleet) -> None:
    """A worker whose loop ended without stop() can still be evicted."""

    async def die() -> None:
        broker = MemoryBroker(URL, fleet.context.seen_by("w1"))
        await broker.subscribe(["default"], "w1", 10, lambda _: None)
        await broker.receive(1)

    await fleet.broker.send([envelope()])
    await elsewhere(die)

    assert 1 == await fleet.broker.evict("w1")
    assert 1 == (await fleet.broker.depth("default")).ready
