"""Order and time: the most urgent first, then the oldest; nothing before it is due, nothing forgotten after."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from qtasks_core.contract import Capability
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, envelopes, envelopes_of, sorted_uuids, uuids_of
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_testing.kit.bench import Bench

__all__ = ["DelayTests", "OrderTests"]

SOON_S = 0.25
DAY_S = 86_400.0


class OrderTests(Suite):
    """Tests of strict priority."""

    @requires(Capability.PRIORITY)
    async def test_the_most_urgent_goes_first_then_the_oldest(self, bench: Bench) -> None:
        """One by one: lower numbers first, over the whole range; equal ones as they were sent."""
        shuffled = random.Random(1)  # noqa: S311  # an order, the same each time
        sent = [envelope(priority=shuffled.choice((-128, -1, 0, 1, 127))) for _ in range(30)]
        sender = await bench.sender()
        for item in sent:
            await sender.send([item])
        consumer = await bench.consumer()

        got = [await consumer.take_one() for _ in sent]

        assert envelopes_of(got) == sorted(sent, key=lambda item: item.priority)

    @requires(Capability.PRIORITY)
    async def test_a_batch_is_ordered_as_single_ones_are(self, bench: Bench) -> None:
        """Sent in one batch and received in batches, the order is the same."""
        shuffled = random.Random(2)  # noqa: S311  # an order, the same each time
        sent = [envelope(priority=shuffled.randint(-3, 3)) for _ in range(60)]
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer()

        got = [*await consumer.take(20), *await consumer.take(40)]

        assert envelopes_of(got) == sorted(sent, key=lambda item: item.priority)

    @requires(Capability.PRIORITY)
    async def test_what_comes_later_and_is_more_urgent_goes_first(self, bench: Bench) -> None:
        """What matters is what waits when a slot is filled."""
        sender, consumer = await bench.sender(), await bench.consumer()
        await sender.send(envelopes(5))
        await consumer.take(2)
        urgent = envelope(priority=-1)
        await sender.send([urgent])

        assert (await consumer.take_one()).envelope == urgent

    @requires(Capability.PRIORITY)
    async def test_priority_holds_across_queues(self, bench: Bench) -> None:
        """Of all queues that a worker reads, the most urgent message goes first."""
        sent = [envelope("a", priority=1), envelope("b", priority=0), envelope("a", priority=-1), envelope("b")]
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer(queues=("a", "b"))

        got = [(await consumer.take_one()).envelope for _ in sent]

        assert got == [sent[2], sent[1], sent[3], sent[0]]


class DelayTests(Suite):
    """Tests of messages that are not due yet."""

    async def test_a_delayed_message_is_held_back_until_it_is_due(self, bench: Bench) -> None:
        """Relative and absolute: not early, and not forgotten."""
        sender, consumer = await bench.sender(), await bench.consumer()
        due_at = bench.context.clock() + 1.0
        relative, absolute = envelope(delay_s=1.0), envelope(due_at=due_at)
        await sender.send([relative, absolute])

        got = []
        for _ in range(2):
            got += await consumer.drain()
            assert got == [] or bench.context.clock() >= due_at  # a slow machine proves nothing
            await bench.pass_time(0.5)
        got += await consumer.take(2 - len(got))

        assert sorted(uuids_of(got)) == sorted_uuids([relative, absolute])

    async def test_a_waiting_call_is_woken_when_a_message_is_due(self, bench: Bench) -> None:
        """Nobody needs to send or to call again."""
        consumer = await bench.consumer()
        receiving = asyncio.ensure_future(consumer.take_one())
        sender = await bench.sender()
        sent_at = asyncio.get_running_loop().time()
        await sender.send([envelope(delay_s=SOON_S)])

        await receiving

        assert asyncio.get_running_loop().time() - sent_at >= SOON_S - 0.02

    @requires(Trait.CLOCK)
    async def test_a_waiting_call_is_woken_when_the_clock_moves(self, bench: Bench) -> None:
        """An hour passes at once for who sleeps until a message is due."""
        consumer = await bench.consumer()
        await (await bench.sender()).send([sent := envelope(delay_s=3600.0)])
        receiving = asyncio.ensure_future(consumer.take_one())
        assert not (await asyncio.wait([receiving], timeout=bench.silence_s))[0]

        await bench.pass_time(3600.0)

        assert uuids_of([await receiving]) == [sent.uuid]

    async def test_a_nearer_message_is_not_held_up_by_a_farther_one(self, bench: Bench) -> None:
        """A call that waits for a message of tomorrow is woken for one that comes later and is due sooner."""
        sender, consumer = await bench.sender(), await bench.consumer()
        await sender.send([envelope(delay_s=DAY_S)])
        receiving = asyncio.ensure_future(consumer.take_one())
        await asyncio.sleep(0.02)
        near = envelope(delay_s=SOON_S)
        await sender.send([near])

        assert uuids_of([await receiving]) == [near.uuid]

    async def test_what_is_ready_does_not_wait_for_what_is_delayed(self, bench: Bench) -> None:
        """Also when the delayed one is older and more urgent."""
        ready = envelope()
        await (await bench.sender()).send([envelope(delay_s=60.0, priority=-128), ready])

        assert uuids_of(await (await bench.consumer()).drain()) == [ready.uuid]

    async def test_a_time_in_the_past_is_now(self, bench: Bench) -> None:
        """A clock that was wrong delays nothing for ever."""
        late = envelope(due_at=bench.context.clock() - 100.0)
        await (await bench.sender()).send([late])

        assert uuids_of(await (await bench.consumer()).take(1)) == [late.uuid]

    @requires(Trait.CLOCK)
    async def test_each_of_many_is_due_at_its_own_time(self, bench: Bench) -> None:
        """Days apart, in the order of their times."""
        sent = [envelope(delay_s=days * DAY_S) for days in (3, 1, 2)]
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer()
        got = []
        for _ in sent:
            await bench.pass_time(DAY_S - 60.0)
            assert await consumer.drain() == []
            await bench.pass_time(60.0)
            got += await consumer.drain()

        assert uuids_of(got) == [sent[1].uuid, sent[2].uuid, sent[0].uuid]

    @requires(Capability.PRIORITY, Trait.CLOCK)
    async def test_what_became_due_is_ordered_by_priority(self, bench: Bench) -> None:
        """A delay does not change how urgent a message is."""
        sent = [envelope(delay_s=10.0, priority=1), envelope(delay_s=20.0, priority=-1), envelope(priority=0)]
        await (await bench.sender()).send(sent)
        await bench.pass_time(30.0)

        got = await (await bench.consumer()).take(3)

        assert uuids_of(got) == [sent[1].uuid, sent[2].uuid, sent[0].uuid]
