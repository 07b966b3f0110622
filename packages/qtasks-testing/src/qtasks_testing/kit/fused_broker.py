"""The end of a task, its record, its successors and its verdict as one step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Ack, Capability, Dead, Depth, Evicts, FusedBroker, Release, Retry
from qtasks_core.errors import AlreadyFinal, FencedError
from qtasks_testing.kit.evicts import evict
from qtasks_testing.kit.fused_sender import statuses, tasks
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import (
    envelope_of,
    final,
    next_attempt,
    outcome,
    record,
    sorted_uuids,
    uuids_of,
)
from qtasks_testing.kit.settling import assert_depth
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_core.contract import Delivery, TaskRecord
    from qtasks_testing.kit.bench import Bench

__all__ = ["FusedBrokerSuite"]


def ended(delivery: Delivery, **fields: Any) -> TaskRecord:
    """Return the final record of a delivery's task."""
    return final(record(envelope_of(delivery)), **fields)


async def _added(bench: Bench, count: int, queue: str = "default", **fields: Any) -> None:
    sender: Any = await bench.sender()
    assert list(await sender.add_and_send(tasks(count, queue, **fields))) == [None] * count


@requires(FusedBroker)
class FusedBrokerSuite(Suite):
    """Every FusedBroker passes it, and FusedSenderSuite too."""

    component = "broker"

    async def test_an_empty_batch_is_answered_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input."""
        broker: Any = (await bench.consumer()).broker

        assert list(await broker.finish_and_settle([])) == []

    async def test_a_task_ends_with_its_record(self, bench: Bench) -> None:
        """The message is gone, the record is final, whoever waited is woken."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        waiting = asyncio.ensure_future(storage.wait(envelope_of(held).uuid, bench.patience_s))
        await asyncio.sleep(0.02)

        assert list(await broker.finish_and_settle([outcome(held, record=ended(held, result=b"\x2a"))])) == [None]

        assert (await waiting).result == b"\x2a"
        assert await statuses(storage, uuids_of([held])) == ["success"]
        await assert_depth(broker, Depth(0, 0, 0, 0))

    async def test_an_end_without_a_record_is_an_end(self, bench: Bench) -> None:
        """An outcome may have a verdict alone."""
        await _added(bench, 1)
        consumer = await bench.consumer()
        broker: Any = consumer.broker

        assert list(await broker.finish_and_settle([outcome(await consumer.take_one())])) == [None]
        await assert_depth(broker, Depth(0, 0, 0, 0))

    async def test_a_retry_is_a_record_and_a_message(self, bench: Bench) -> None:
        """Status retry until the next attempt has its end."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        retry = ended(held, status="retry", result=None, error=b"\x90", finished_at=None)

        answers = await broker.finish_and_settle([outcome(held, Retry(next_attempt(held)), retry)])
        before = await statuses(storage, uuids_of([held]))
        again = await consumer.take_one()
        await broker.finish_and_settle([outcome(again, record=ended(again))])

        assert list(answers) == [None]
        assert before == ["retry"]
        assert envelope_of(again).attempt == 2
        assert await statuses(storage, uuids_of([held])) == ["success"]

    async def test_a_release_leaves_the_task_as_it_was(self, bench: Bench) -> None:
        """Given back at shutdown: new again, and taken by the next."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()

        assert list(await broker.finish_and_settle([outcome(held, Release())])) == [None]

        assert await statuses(storage, uuids_of([held])) == ["new"]
        again = await consumer.take_one()
        assert (envelope_of(again).attempt, again.crashes, again.suspect) == (1, 0, False)

    async def test_a_dead_letter_has_its_record(self, bench: Bench) -> None:
        """It is kept beside a final record that says so."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        dead = ended(held, status="dead", result=None, reason="why", dead_lettered=True)

        assert list(await broker.finish_and_settle([outcome(held, Dead("why"), dead)])) == [None]

        (got,) = await storage.get(uuids_of([held]))
        assert got is not None
        assert (got.status, got.reason, got.dead_lettered) == ("dead", "why", True)
        await assert_depth(broker, Depth(0, 0, 0, 1))

    async def test_successors_start_with_the_end(self, bench: Bench) -> None:
        """Their records and messages, or a message alone, are there with the final record."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        (known, bare) = tasks(2)

        answers = await broker.finish_and_settle([outcome(held, Ack(), ended(held), [known, (None, bare[1])])])

        assert list(answers) == [None]
        assert await statuses(storage, [known[1].uuid]) == ["new"]
        assert sorted_uuids(await consumer.drain()) == sorted_uuids([known[1], bare[1]])

    async def test_a_successor_that_is_there_already_is_sent_once(self, bench: Bench) -> None:
        """A repeated run ends without an error, and without a second copy."""
        await _added(bench, 1)
        consumer = await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        (known,) = tasks(1)
        await broker.add_and_send([known])

        assert list(await broker.finish_and_settle([outcome(held, Ack(), ended(held), [known])])) == [None]

        assert uuids_of(await consumer.drain()) == [known[1].uuid]

    async def test_one_that_is_not_ours_does_not_fail_its_batch_mates(self, bench: Bench) -> None:
        """Item by item; nothing of the fenced one is applied: no record, no successor, no verdict."""
        await _added(bench, 3)
        storage, consumer = await bench.storage(), await bench.consumer(queues=("default", "next"))
        broker: Any = consumer.broker
        first, second, third = await consumer.take(3)
        await broker.finish_and_settle([outcome(second, record=ended(second, result=b"\x01"))])

        answers = await broker.finish_and_settle(
            [
                outcome(first, record=ended(first)),
                outcome(second, Ack(), ended(second, result=b"\x02"), tasks(1, "next")),
                outcome(third, record=ended(third)),
            ]
        )

        assert [type(answer) for answer in answers] == [type(None), FencedError, type(None)]
        got = [item and item.result for item in await storage.get(uuids_of([first, second, third]))]
        assert got == [b"\x01"] * 3
        assert await consumer.drain() == []

    @requires(Capability.FENCED, Evicts)
    async def test_of_a_zombie_and_its_successor_one_outcome_counts(self, bench: Bench) -> None:
        """The evicted one is fenced before and after the other took over, with its end and with its retry."""
        await _added(bench, 1)
        storage = await bench.storage()
        zombie, other = await bench.consumer(), await bench.consumer("w2", ("default", "next"))
        zombie_broker: Any = zombie.broker
        other_broker: Any = other.broker
        old = await zombie.take_one()
        await zombie.subscribe(())
        await evict(bench, "w1")

        answers = [
            *await zombie_broker.finish_and_settle([outcome(old, Ack(), ended(old, result=b"\x01"), tasks(1, "next"))])
        ]
        new = await other.take_one()
        retry = ended(old, status="retry", finished_at=None)
        answers += await zombie_broker.finish_and_settle([outcome(old, Retry(next_attempt(old)), retry)])
        answers += await other_broker.finish_and_settle([outcome(new, record=ended(new, result=b"\x02"))])

        assert [type(answer) for answer in answers] == [FencedError, FencedError, type(None)]
        (got,) = await storage.get(uuids_of([old]))
        assert got is not None
        assert (got.status, got.result) == ("success", b"\x02")
        assert await other.drain() == []

    async def test_a_record_that_is_final_already_stays(self, bench: Bench) -> None:
        """A suspect that ran in spite of it: its result is dropped, its message does not come again."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        held = await consumer.take_one()
        await storage.finish([ended(held, result=b"\x01")])

        answers = await broker.finish_and_settle([outcome(held, record=ended(held, result=b"\x02"))])

        assert [type(answer) for answer in answers] == [AlreadyFinal]
        assert [item and item.result for item in await storage.get(uuids_of([held]))] == [b"\x01"]
        assert await consumer.drain() == []

    async def test_a_running_task_can_be_marked(self, bench: Bench) -> None:
        """Where the claim does not mark by itself, mark() does; both leave the message where it is."""
        await _added(bench, 1)
        storage, consumer = await bench.storage(), await bench.consumer()
        held = await consumer.take_one()

        marks = [record(envelope_of(held), "process", worker="w1", started_at=5.0)]
        assert list(await storage.mark(marks)) == [None]

        (got,) = await storage.get(uuids_of([held]))
        assert got is not None
        assert (got.status, got.worker) == ("process", "w1")
        await consumer.ack(held)
