"""Settling: each verdict, one answer per item, follow-ups, and that a delivery is settled once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Ack, Dead, Depth, Release, Retry
from qtasks_core.errors import AlreadyExists, FencedError
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import (
    body,
    envelope,
    envelope_of,
    envelopes,
    next_attempt,
    outcome,
    sorted_uuids,
    uuids_of,
)
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_core.contract import Broker
    from qtasks_testing.kit.bench import Bench

__all__ = ["SettleTests", "assert_depth"]


class SettleTests(Suite):
    """Tests of settle() and depth()."""

    async def test_an_empty_batch_is_settled_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input."""
        assert list(await (await bench.consumer()).settle()) == []

    async def test_an_acknowledged_delivery_is_gone(self, bench: Bench) -> None:
        """Nobody receives it again, also not after a restart."""
        await (await bench.sender()).send(envelopes(3))
        consumer, other = await bench.consumer(), await bench.consumer("w2")

        await consumer.ack(*await consumer.take(3))
        await consumer.broker.stop()

        assert await other.drain() == []
        await assert_depth(other.broker, Depth(0, 0, 0, 0))

    async def test_an_unsettled_delivery_is_not_gone(self, bench: Bench) -> None:
        """Receiving acknowledges nothing."""
        await (await bench.sender()).send(envelopes(3))
        consumer = await bench.consumer()
        await consumer.ack(*await consumer.take(1))

        await consumer.take(1)

        await assert_depth(consumer.broker, Depth(1, 0, 1, 0))

    async def test_a_released_delivery_comes_again_uncharged(self, bench: Bench) -> None:
        """The same attempt, no crash, for any worker."""
        sent = envelope(attempt=2)
        await (await bench.sender()).send([sent])
        consumer, other = await bench.consumer(), await bench.consumer("w2")

        assert list(await consumer.settle(outcome(await consumer.take_one(), Release()))) == [None]
        await consumer.subscribe(())
        again = await other.take_one()

        assert again.envelope == sent
        assert again.crashes == 0
        assert not again.suspect

    async def test_a_release_wakes_who_waits(self, bench: Bench) -> None:
        """Given back for another worker to take now, not at its next look."""
        await (await bench.sender()).send([envelope()])
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        held = await consumer.take_one()
        await consumer.subscribe(())

        await consumer.settle(outcome(held, Release()))

        assert uuids_of([await other.take_one()]) == [envelope_of(held).uuid]

    async def test_a_release_with_a_delay_is_held_back(self, bench: Bench) -> None:
        """Not early, not forgotten, not another attempt."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer()

        await consumer.settle(outcome(await consumer.take_one(), Release(delay_s=1.0)))
        assert await consumer.drain() == []
        await assert_depth(consumer.broker, Depth(0, 1, 0, 0))
        await bench.pass_time(1.0)

        again = await consumer.take_one()
        assert envelope_of(again).attempt == 1
        assert again.crashes == 0

    async def test_a_retry_replaces_the_envelope_and_keeps_its_identity(self, bench: Bench) -> None:
        """One message of that uuid, as the engine made it anew."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer()
        held = await consumer.take_one()
        following = next_attempt(held, body=body("other"), priority=5, key="k")

        assert list(await consumer.settle(outcome(held, Retry(following)))) == [None]
        again = await consumer.drain()

        assert [delivery.envelope for delivery in again] == [following]
        assert [delivery.crashes for delivery in again] == [0]
        await consumer.ack(*again)
        await assert_depth(consumer.broker, Depth(0, 0, 0, 0))

    async def test_a_retry_waits_until_it_is_due(self, bench: Bench) -> None:
        """Backoff is kept by the server, not by a worker's memory."""
        await (await bench.sender()).send([envelope()])
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        held = await consumer.take_one()

        await consumer.settle(outcome(held, Retry(next_attempt(held, due_at=bench.context.clock() + 1.0))))
        await consumer.broker.stop()
        assert await other.drain() == []
        await assert_depth(other.broker, Depth(0, 1, 0, 0))
        await bench.pass_time(1.0)

        assert envelope_of(await other.take_one()).attempt == 2

    async def test_a_parked_message_stays_the_same_attempt(self, bench: Bench) -> None:
        """Nobody knew its name: it is put back as it was, with the time since when."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer()
        held = await consumer.take_one()
        parked = next_attempt(held, attempt=1, parked_at=1e9, due_at=bench.context.clock() + 1.0)

        await consumer.settle(outcome(held, Retry(parked)))
        assert await consumer.drain() == []
        await bench.pass_time(1.0)

        again = envelope_of(await consumer.take_one())
        assert (again.uuid, again.attempt, again.parked_at) == (parked.uuid, 1, 1e9)

    async def test_a_dead_letter_is_kept_and_not_delivered(self, bench: Bench) -> None:
        """It is counted as dead, whoever asks."""
        await (await bench.sender()).send(envelopes(2))
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        held = await consumer.take(2)

        assert list(await consumer.settle(outcome(held[0], Dead("why")), outcome(held[1]))) == [None, None]

        assert await consumer.drain() == []
        await assert_depth(other.broker, Depth(0, 0, 0, 1))

    async def test_one_batch_may_hold_all_verdicts(self, bench: Bench) -> None:
        """Each item gets its own."""
        sent = envelopes(4)
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer()
        by_uuid = {envelope_of(delivery).uuid: delivery for delivery in await consumer.take(4)}
        acked, retried, released, dead = (by_uuid[item.uuid] for item in sent)

        answers = await consumer.settle(
            outcome(acked),
            outcome(retried, Retry(next_attempt(retried))),
            outcome(released, Release()),
            outcome(dead, Dead("why")),
        )

        assert list(answers) == [None] * 4
        again = {envelope_of(delivery).uuid: envelope_of(delivery).attempt for delivery in await consumer.drain()}
        assert again == {sent[1].uuid: 2, sent[2].uuid: 1}
        await assert_depth(consumer.broker, Depth(0, 0, 2, 1))

    @pytest.mark.parametrize("verdict", [Ack(), Release(), Dead("why")])
    async def test_a_delivery_is_settled_once(self, bench: Bench, verdict: Ack | Release | Dead) -> None:
        """The second time it is not ours any more, and nothing of it is applied; its batch mates are settled."""
        await (await bench.sender()).send(envelopes(3))
        consumer = await bench.consumer()
        first, second, third = await consumer.take(3)
        await consumer.ack(second)

        answers = await consumer.settle(outcome(first), outcome(second, verdict), outcome(third))

        assert [type(answer) for answer in answers] == [type(None), FencedError, type(None)]
        assert await consumer.drain() == []
        await assert_depth(consumer.broker, Depth(0, 0, 0, 0))

    async def test_a_delivery_twice_in_one_batch_is_settled_once(self, bench: Bench) -> None:
        """The first outcome counts."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer()
        held = await consumer.take_one()

        answers = await consumer.settle(outcome(held), outcome(held, Retry(next_attempt(held))))

        assert [type(answer) for answer in answers] == [type(None), FencedError]
        assert await consumer.drain() == []

    async def test_a_released_delivery_cannot_be_settled_any_more(self, bench: Bench) -> None:
        """An old handle does not reach the same message in another worker's hands."""
        await (await bench.sender()).send([envelope()])
        consumer, other = await bench.consumer(), await bench.consumer("w2")
        before = await consumer.take_one()
        await consumer.settle(outcome(before, Release()))
        await consumer.subscribe(())
        held = await other.take_one()

        answers = await consumer.settle(outcome(before))

        assert [type(answer) for answer in answers] == [FencedError]
        await other.ack(held)

    async def test_an_old_handle_of_the_same_worker_settles_nothing(self, bench: Bench) -> None:
        """Received a second time by the same worker, only the newer delivery counts."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer()
        before = await consumer.take_one()
        await consumer.settle(outcome(before, Release()))
        held = await consumer.take_one()

        answers = await consumer.settle(outcome(before))

        assert [type(answer) for answer in answers] == [FencedError]
        await consumer.ack(held)

    async def test_a_uuid_that_was_acknowledged_may_be_sent_again(self, bench: Bench) -> None:
        """It is forgotten, so this is another message: what settled the first one settles nothing of it."""
        sender, consumer = await bench.sender(), await bench.consumer()
        sent = envelope()
        await sender.send([sent])
        before = await consumer.take_one()
        await consumer.ack(before)

        assert list(await sender.send([sent])) == [None]
        held = await consumer.take_one()
        answers = await consumer.settle(outcome(before))

        assert [type(answer) for answer in answers] == [FencedError]
        assert (held.envelope, held.crashes, held.suspect) == (sent, 0, False)
        await consumer.ack(held)
        await assert_depth(consumer.broker, Depth(0, 0, 0, 0))

    @requires(Trait.IDENTITY)
    async def test_a_dead_letter_is_there_already(self, bench: Bench) -> None:
        """Sent again by whoever missed the first answer, it comes back neither as a message nor as a second letter."""
        sender, consumer = await bench.sender(), await bench.consumer()
        sent = envelope()
        await sender.send([sent])
        await consumer.settle(outcome(await consumer.take_one(), Dead("why")))

        answers = await sender.send([sent])

        assert [type(answer) for answer in answers] == [AlreadyExists]
        assert await consumer.drain() == []
        await assert_depth(consumer.broker, Depth(0, 0, 0, 1))

    async def test_follow_ups_are_sent_with_the_verdict(self, bench: Bench) -> None:
        """Successors of a task leave with its end, in their own queues and at their own times."""
        await (await bench.sender()).send([envelope()])
        consumer, other = await bench.consumer(), await bench.consumer("w2", ("next",))
        sends = [envelope("next"), envelope("next"), envelope("next", delay_s=60.0)]

        held = await consumer.take_one()
        answers = await consumer.settle(outcome(held, sends=[(None, item) for item in sends]))

        assert list(answers) == [None]
        assert sorted_uuids(await other.drain()) == sorted_uuids(sends[:2])

    @requires(Trait.IDENTITY)
    async def test_a_follow_up_that_is_there_already_is_sent_once(self, bench: Bench) -> None:
        """A run that is repeated after a crash sends its successors again: no error, and no second copy."""
        follow_up = envelope("next")
        await (await bench.sender()).send([envelope(), follow_up])
        consumer = await bench.consumer(queues=("default", "next"))

        held = await consumer.broker.receive(1, {"next": 0})
        answers = await consumer.settle(outcome(held[0], sends=[(None, follow_up)]))

        assert list(answers) == [None]
        assert uuids_of(await consumer.drain()) == [follow_up.uuid]

    async def test_a_settle_that_is_refused_sends_no_follow_up(self, bench: Bench) -> None:
        """What is not ours any more may not have successors either."""
        await (await bench.sender()).send([envelope()])
        consumer = await bench.consumer(queues=("default", "next"))
        held = await consumer.take_one()
        await consumer.ack(held)

        await consumer.settle(outcome(held, sends=[(None, envelope("next"))]))

        assert await consumer.drain() == []

    async def test_depth_counts_what_waits_runs_and_died(self, bench: Bench) -> None:
        """Of one queue; where the server can tell."""
        sent = [*envelopes(5), envelope(delay_s=60.0), envelope("other")]
        await (await bench.sender()).send(sent)
        consumer = await bench.consumer()
        await consumer.settle(outcome(await consumer.take_one(), Dead("why")))
        await consumer.take(2)

        await assert_depth(consumer.broker, Depth(2, 1, 2, 1))
        await assert_depth(consumer.broker, Depth(0, 0, 0, 0), "unheard of")


async def assert_depth(broker: Broker, expected: Depth, queue: str = "default") -> None:
    """Check the numbers that the server can tell; the others are None."""
    actual = await broker.depth(queue)
    assert actual == Depth(*(None if mine is None else theirs for mine, theirs in zip(actual, expected, strict=True)))
