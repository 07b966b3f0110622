"""Cancelling what waits, in one step with its record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Cancels, FusedSender
from qtasks_core.naming import new_uuid
from qtasks_testing.kit.fused_sender import tasks
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope_of, outcome, record, uuids_of
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from uuid import UUID

    from qtasks_testing.kit.bench import Bench

__all__ = ["CancelsSuite"]


async def _added(bench: Bench, count: int, **fields: Any) -> list[UUID]:
    broker: Any = await bench.broker()
    added = tasks(count, **fields)
    assert list(await broker.add_and_send(added)) == [None] * count
    return [sent.uuid for _, sent in added]


@requires(Cancels, FusedSender)
class CancelsSuite(Suite):
    """Every broker that Cancels passes it."""

    component = "broker"

    async def test_what_waits_is_removed_and_recorded(self, bench: Bench) -> None:
        """True; nobody receives it, its record says why, who waited is woken; ready and delayed alike."""
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        uuids = [*await _added(bench, 1), *await _added(bench, 1, delay_s=1.0)]
        waiting = [asyncio.ensure_future(storage.wait(uuid, bench.patience_s)) for uuid in uuids]
        await asyncio.sleep(0.02)

        assert list(await broker.cancel(uuids, "not wanted")) == [True, True]

        assert [(got.status, got.reason) for got in await asyncio.gather(*waiting)] == [("cancel", "not wanted")] * 2
        await bench.pass_time(1.1)
        assert await consumer.drain() == []

    async def test_what_is_final_is_not_cancelled(self, bench: Bench) -> None:
        """False, and its record stays; a second cancel is as late."""
        storage, consumer = await bench.storage(), await bench.consumer()
        broker: Any = consumer.broker
        (done,) = await _added(bench, 1)
        held = await consumer.take_one()
        await broker.finish_and_settle(
            [outcome(held, record=record(envelope_of(held), "success", result=b"\x01", finished_at=1.0))]
        )
        (cancelled,) = await _added(bench, 1)
        await broker.cancel([cancelled], "first")

        assert list(await broker.cancel([done, cancelled], "second")) == [False, False]

        got = await storage.get([done, cancelled])
        assert [item and (item.status, item.reason) for item in got] == [("success", None), ("cancel", "first")]

    async def test_what_runs_or_is_unknown_is_left_to_the_engine(self, bench: Bench) -> None:
        """None: the run goes on and can be settled; the others of the batch get their own answer."""
        consumer = await bench.consumer()
        broker: Any = consumer.broker
        (running,) = await _added(bench, 1)
        held = await consumer.take_one()
        await consumer.subscribe(())
        (waiting,) = await _added(bench, 1)

        assert list(await broker.cancel([running, new_uuid(), waiting], "why")) == [None, None, True]

        await consumer.ack(held)
        await consumer.subscribe()
        assert await consumer.drain() == []

    async def test_a_task_is_taken_or_cancelled_never_both(self, bench: Bench) -> None:
        """Two that cancel and one that takes, at the same time: each task has one fate, and one canceller is told."""
        consumer = await bench.consumer()
        broker: Any = consumer.broker
        uuids = await _added(bench, 100)

        taken, first, second = await asyncio.gather(
            consumer.drain(limit=3), broker.cancel(uuids[50:], "a"), broker.cancel(uuids[50:], "b")
        )

        told = [bool(one) + bool(other) for one, other in zip(first, second, strict=True)]
        cancelled = [uuid for uuid, count in zip(uuids[50:], told, strict=True) if count]
        assert max(told) <= 1
        assert sorted([*cancelled, *uuids_of(taken)]) == sorted(uuids)
