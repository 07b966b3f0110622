"""Receiving: what arrives, how many, whence, and that a cancelled call strands none."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from qtasks_testing.kit.leftovers import leftovers
from qtasks_testing.kit.samples import (
    body,
    envelope,
    envelope_of,
    envelopes,
    envelopes_of,
    sorted_uuids,
    uuids_of,
)
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery
    from qtasks_testing.kit.bench import Bench
    from qtasks_testing.kit.consumer import Consumer

__all__ = ["ReceiveTests", "let_run", "survivors"]

HOSTILE_NAMES = ["a b", "a:b", "a%", "a_b", "it's", 'say "x"', "warteschlange-ü", "x" * 200, "*", "a/b", "--", "{a}"]


class ReceiveTests(Suite):
    """Tests of receive()."""

    async def test_what_was_sent_arrives_as_it_was_sent(self, bench: Bench) -> None:
        """A broker carries every field, and does not look into the body."""
        sent = envelope(
            body=body() + bytes(range(256)),
            priority=-7,
            attempt=3,
            expires_at=4e9,
            key="customer-1",
            unique_key="only",
            reply_to="somewhere",
            crashes=2,
            replays=1,
            parked_at=1e9,
            created_at=1e9,
        )
        await (await bench.sender()).send([sent])

        delivery = await (await bench.consumer()).take_one()

        assert delivery.envelope == sent
        assert delivery.crashes == 2
        assert not delivery.suspect

    @pytest.mark.parametrize("size", [0, 1, 5000])
    async def test_bodies_are_opaque(self, bench: Bench, size: int) -> None:
        """Any bytes are a body: whether they can be read is the core's business."""
        sent = envelope(body=random.Random(size).randbytes(size))  # noqa: S311  # bytes of no meaning
        await (await bench.sender()).send([sent])

        assert (await (await bench.consumer()).take_one()).envelope == sent

    @pytest.mark.parametrize("queue", HOSTILE_NAMES)
    async def test_queues_may_have_any_name(self, bench: Bench, queue: str) -> None:
        """A name is a name, not a pattern, a path or a piece of a command."""
        sent = envelope(queue)
        await (await bench.sender()).send([envelope(queue + "x"), envelope("x" + queue), sent])

        assert envelopes_of(await (await bench.consumer(queues=[queue])).drain()) == [sent]

    async def test_a_waiting_call_is_woken_by_a_message(self, bench: Bench) -> None:
        """Sent by the same object, by another one, and by another event loop: each wakes it."""
        consumer = await bench.consumer()
        sender = await bench.sender()

        async def send() -> None:
            other = bench.make("sender")
            await other.start()
            await other.send([envelope()])
            await other.stop()

        for way in (consumer.broker.send, sender.send, None):
            receiving = await _waiting(consumer)
            await (bench.elsewhere(send) if way is None else way([envelope()]))
            await consumer.ack(*await asyncio.wait_for(receiving, bench.patience_s))

    async def test_no_more_than_the_limit_arrives_and_the_rest_stays_for_others(self, bench: Bench) -> None:
        """A worker takes what it has slots for: what it hoarded nobody else could run."""
        await (await bench.sender()).send(envelopes(10))
        busy, free = await bench.consumer("busy"), await bench.consumer("free")

        held = await busy.receive(3)
        rest = await free.drain()

        assert len(held) <= 3
        assert len(held) + len(rest) == 10

    async def test_a_limit_beyond_the_largest_batch_is_fine(self, bench: Bench) -> None:
        """It is a limit, not an order."""
        await (await bench.sender()).send(envelopes(5))

        assert len(await (await bench.consumer()).drain(limit=1_000_000)) == 5

    async def test_a_message_goes_to_one_worker_only(self, bench: Bench) -> None:
        """Two workers that take at the same time share what is there."""
        sent = envelopes(300)
        consumers = [await bench.consumer("w1"), await bench.consumer("w2")]
        await (await bench.sender()).send(sent)

        taken = await asyncio.gather(*(consumer.drain(limit=7) for consumer in consumers))

        assert sorted_uuids([*taken[0], *taken[1]]) == sorted_uuids(sent)

    async def test_who_is_free_takes_the_next(self, bench: Bench) -> None:
        """A worker that holds one does not keep another from taking the second."""
        await (await bench.sender()).send(envelopes(2))
        first, second = await bench.consumer("w1"), await bench.consumer("w2")

        assert len(await first.receive(1)) == 1
        assert len(await second.receive(1)) == 1

    async def test_only_subscribed_queues_are_read(self, bench: Bench) -> None:
        """What is for others stays."""
        sent = [envelope("a"), envelope("b"), envelope("c")]
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer(queues=("a", "c"))

        assert sorted_uuids(await consumer.drain()) == sorted_uuids([sent[0], sent[2]])

    async def test_no_more_of_a_queue_than_it_may_have(self, bench: Bench) -> None:
        """per_queue limits the named queues; the others go by the limit alone."""
        await (await bench.sender()).send([*envelopes(4, "a"), *envelopes(4, "b"), *envelopes(4, "c")])
        consumer = await bench.consumer(queues=("a", "b", "c"))

        got = await consumer.receive(100, {"a": 1, "b": 2})

        queues = [item.queue for item in envelopes_of(got)]
        assert queues.count("a") <= 1
        assert queues.count("b") <= 2

    async def test_a_queue_that_is_full_does_not_block_the_others(self, bench: Bench) -> None:
        """More urgent messages of a queue that may have none are passed over, and stay."""
        urgent, sent = envelopes(5, "a", priority=-10), envelopes(3, "b")
        await (await bench.sender()).send([*urgent, *sent])
        consumer = await bench.consumer(queues=("a", "b"))

        assert sorted_uuids(await consumer.drain(per_queue={"a": 0})) == sorted_uuids(sent)
        assert sorted_uuids(await consumer.drain()) == sorted_uuids(urgent)

    async def test_nothing_to_receive_is_waited_for(self, bench: Bench) -> None:
        """It never returns with nothing."""
        assert await (await bench.consumer()).drain() == []

    async def test_a_subscription_can_be_changed(self, bench: Bench) -> None:
        """From then on receive() reads the new queues, a call that waits already too."""
        consumer = await bench.consumer(queues=("a",))
        receiving = await _waiting(consumer)
        await (await bench.sender()).send([envelope("b")])
        await consumer.subscribe(("b",))

        assert [item.queue for item in envelopes_of(await asyncio.wait_for(receiving, bench.patience_s))] == ["b"]

    async def test_subscribing_to_nothing_pauses(self, bench: Bench) -> None:
        """Nothing is taken until the next subscribe(), by a call that waits already neither."""
        consumer = await bench.consumer()
        receiving = await _waiting(consumer)
        await consumer.subscribe(())
        sent = envelope()
        await (await bench.sender()).send([sent])

        assert not (await asyncio.wait([receiving], timeout=bench.silence_s))[0]

        await consumer.subscribe(("default",))
        assert envelopes_of(await asyncio.wait_for(receiving, bench.patience_s)) == [sent]

    async def test_what_is_held_stays_held_during_a_pause(self, bench: Bench) -> None:
        """A draining worker finishes what it runs: nobody else gets it, and it is still settled."""
        await (await bench.sender()).send(envelopes(2))
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        held = await consumer.take(2)

        await consumer.subscribe(())

        assert await other.drain() == []
        await consumer.ack(*held)
        assert not consumer.lost

    async def test_what_is_held_is_given_to_nobody_else(self, bench: Bench) -> None:
        """While its worker lives a delivery is not sent a second time, however long it takes: three leases here."""
        await (await bench.sender()).send([envelope()])
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        held = await consumer.take(1)

        receiving = await _waiting(other)
        await asyncio.sleep(3 * bench.context.config.lease_ttl)

        assert not receiving.done()
        await consumer.ack(*held)
        await _cancel(receiving)

    async def test_a_cancelled_call_strands_none(self, bench: Bench) -> None:
        """Cancelled at any moment, it took nothing that nobody has; charged to nobody either."""
        consumer, sender = await bench.consumer(), await bench.sender()
        sent: list[Delivery] = []
        wanted = envelopes(120)
        for turn, item in enumerate(wanted):
            receiving = asyncio.ensure_future(consumer.broker.receive(1 + turn % 3))
            sending = asyncio.ensure_future(sender.send([item]))
            await let_run(turn)
            receiving.cancel()
            sent += await survivors(receiving)
            await sending

        sent += await (await bench.consumer("w2")).drain()

        assert sorted_uuids(sent) == sorted_uuids(wanted)
        assert not any(delivery.crashes or delivery.suspect for delivery in sent)

    async def test_a_call_cancelled_beside_waiting_messages_strands_none(self, bench: Bench) -> None:
        """The same with messages there from the start."""
        consumer = await bench.consumer()
        wanted = envelopes(100)
        await (await bench.sender()).send(wanted)
        got: list[Delivery] = []
        for turn in range(100):
            receiving = asyncio.ensure_future(consumer.broker.receive(2))
            await let_run(turn)
            receiving.cancel()
            got += await survivors(receiving)

        got += await (await bench.consumer("w2")).drain()

        assert sorted_uuids(got) == sorted_uuids(wanted)

    async def test_a_call_in_vain_leaves_nothing_behind(self, bench: Bench) -> None:
        """A worker that is idle for weeks does not fill its memory."""
        consumer = await bench.consumer()

        async def receive() -> None:
            receiving = asyncio.ensure_future(consumer.broker.receive(1))
            await asyncio.sleep(0.001)
            receiving.cancel()
            await survivors(receiving)

        assert await leftovers(receive) < 1

    async def test_messages_outlive_a_restart_of_their_reader(self, bench: Bench) -> None:
        """Stopped and started again, it receives what waited meanwhile."""
        consumer = await bench.consumer()
        sent = envelope()
        await consumer.broker.stop()
        await (await bench.sender()).send([sent])

        await consumer.broker.start()
        await consumer.subscribe()

        assert uuids_of(await consumer.take(1)) == [sent.uuid]

    async def test_what_a_stopped_reader_held_is_not_lost(self, bench: Bench) -> None:
        """A worker that stops without a word is dead: others get what it held."""
        sent = envelope()
        await (await bench.sender()).send([sent])
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        await consumer.take(1)

        await consumer.broker.stop()

        assert envelope_of(await other.take_one()).uuid == sent.uuid


async def _waiting(consumer: Consumer) -> asyncio.Future[Sequence[Delivery]]:
    """Start a call of receive() and let it come to its wait."""
    receiving = asyncio.ensure_future(consumer.broker.receive(10))
    await asyncio.sleep(0.02)
    assert not receiving.done()
    return receiving


async def let_run(turn: int) -> None:
    """Let other tasks run for a number of the loop's turns, or some tenths of milliseconds."""
    for _ in range(turn % 8):
        await asyncio.sleep(0)
    if turn % 3 == 0:
        await asyncio.sleep(turn % 10 / 5000)


async def survivors(receiving: asyncio.Future[Sequence[Delivery]]) -> Sequence[Delivery]:
    """Return what a cancelled call returned nevertheless."""
    try:
        return await receiving
    except asyncio.CancelledError:
        return []


async def _cancel(task: asyncio.Future[Sequence[Delivery]]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
