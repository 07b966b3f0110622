"""Leases: renewed by a heart of their own, taken over no sooner than whoever lives could renew them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtasks_core.config import QueueConfig
from qtasks_core.contract import Depth
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import envelope, uuids_of
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_testing.kit import Bench

LEASE_S = 1.0


def _expire(server: Any, worker: str) -> None:
    """Let a lease run out, as it does while the server is down."""
    server.command("ZADD", server.key("live"), 1, worker)


async def test_a_lease_that_ran_out_and_was_not_taken_over_is_renewed(bench: Bench, server: Any) -> None:
    """Under the same epoch: nothing is lost, and nothing runs twice."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    await broker.send([envelope()])
    held = await consumer.take_one()
    epoch = broker.epoch
    _expire(server, "w1")

    await eventually(lambda: float(server.command("ZSCORE", server.key("live"), "w1")) > 1, bench.patience_s)

    assert (broker.epoch, consumer.lost) == (epoch, [])
    await consumer.ack(held)


async def test_the_first_look_for_the_dead_comes_a_full_lease_after_connecting(bench: Bench, server: Any) -> None:
    """The leases of all ran out while the server was down: who lives has had the time to renew its own."""
    bench.context = KitContext(bench.context.namespace, QueueConfig(lease_ttl=LEASE_S))
    dead = await bench.consumer("dead")
    await dead.broker.send([envelope()])
    held = await dead.take_one()
    broker: Any = dead.broker
    broker._heart.remove(broker)
    _expire(server, "dead")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    bench.context = KitContext(bench.context.namespace, bench.context.config)  # another process
    alive = await bench.consumer("alive")

    again = await alive.take_one()

    assert loop.time() - begun >= LEASE_S
    assert (uuids_of([again]), again.crashes) == (uuids_of([held]), 1)


async def test_a_worker_whose_registration_is_gone_is_told_and_goes_on(bench: Bench, server: Any) -> None:
    """The heart says so when nobody else does, such as after the data of the server was lost."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    await broker.send([envelope()])
    held = await consumer.take_one()
    server.command("DEL", *(server.key(name) for name in ("workers", "live", f"i:{broker.epoch}")))

    await eventually(lambda: consumer.lost == [held], bench.patience_s)

    fresh = envelope()
    await broker.send([fresh])
    assert uuids_of(await consumer.take(1)) == [fresh.uuid]


async def test_many_that_were_held_are_taken_over_at_once(bench: Bench) -> None:
    """More than a command of a script takes values; in their order, charged once each."""
    consumer, other = await bench.consumer(), await bench.consumer("w2")
    broker: Any = consumer.broker
    sent = [envelope() for _ in range(6000)]
    await broker.send(sent)
    await other.subscribe(())
    await consumer.take(6000)
    await consumer.subscribe(())

    assert await broker.evict("w1") == 6000

    assert await broker.depth("default") == Depth(6000, 0, 0, 0)
    await other.subscribe()
    again = await other.take(6000)
    assert uuids_of(again) == [item.uuid for item in sent]
    assert {item.crashes for item in again} == {1}
