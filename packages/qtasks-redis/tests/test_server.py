"""What the server holds and does: scripts that it forgot, keys that are left, commands that a task costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.errors import ResultExpiredError
from qtasks_core.naming import new_uuid
from qtasks_testing.kit.samples import envelope, envelope_of, final, outcome, record
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Envelope
    from qtasks_testing import RedisServer
    from qtasks_testing.kit import Bench

COUNTERS = {b"epoch", b"revision"}
"""Numbers that grow; they go when nobody has asked for one for a day."""


@pytest.fixture
def server_url(redis_server: Callable[..., RedisServer]) -> str:
    """Return the URL of a server where nobody else's commands are counted, and nobody else's scripts forgotten."""
    return redis_server().url


async def _add(broker: Any, count: int, **fields: Any) -> list[Envelope]:
    sent = [envelope(**fields) for _ in range(count)]
    assert list(await broker.add_and_send([(record(item), item) for item in sent])) == [None] * count
    return sent


async def test_scripts_that_the_server_forgot_are_told_again(bench: Bench, server: Any) -> None:
    """SCRIPT FLUSH in the midst of work, before each step of a task's life."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker

    for _ in range(3):
        server.command("SCRIPT", "FLUSH")
        (sent,) = await _add(broker, 1)
        server.command("SCRIPT", "FLUSH")
        held = await consumer.take_one()
        server.command("SCRIPT", "FLUSH")
        assert list(await broker.finish_and_settle([outcome(held, record=final(sent))])) == [None]
        server.command("SCRIPT", "FLUSH")
        assert (await storage.wait(sent.uuid, bench.patience_s)).status == "success"


async def test_at_the_end_only_results_are_left_and_they_expire(bench: Bench, server: Any) -> None:
    """Of tasks that succeeded, were retried, cancelled, delayed, unique, large, and waited for."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    sent = await _add(broker, 20, reply_to=storage.address)
    sent += await _add(broker, 1, unique_key="k") + await _add(broker, 3, delay_s=0.01)
    cancelled = await _add(broker, 2) + await _add(broker, 2, delay_s=60.0)
    await broker.cancel([item.uuid for item in cancelled], "not wanted")
    waiting = [asyncio.ensure_future(storage.wait(item.uuid, bench.patience_s)) for item in sent]
    for held in await consumer.take(len(sent)):
        await broker.finish_and_settle([outcome(held, record=final(envelope_of(held)))])
    await asyncio.gather(*waiting)
    await consumer.drain()

    await broker.stop()
    await storage.stop()

    assert server.names() - COUNTERS == {b"r:"}
    ttls = [server.command("TTL", server.key(b"r:" + item.uuid.bytes)) for item in (*sent, *cancelled)]
    assert min(ttls) > 0
    assert all(server.command("TTL", server.key(name)) > 0 for name in COUNTERS & server.names())


async def test_a_counter_that_went_begins_beyond_what_it_had(bench: Bench, server: Any) -> None:
    """Or a worker, or a value, would be taken for one of the past."""
    config: Any = await bench.global_config()
    first = await config.cas("k", b"1", 0)
    server.command("DEL", server.key("revision"))

    assert first < await config.cas("other", b"1", 0)


async def test_waiting_in_vain_leaves_nothing(bench: Bench, server: Any) -> None:
    """Who gave up is registered no more."""
    broker: Any = await bench.broker()
    storage = await bench.storage()
    (sent,) = await _add(broker, 1)  # nobody waits at its address: the wait is registered at the server

    with pytest.raises(TimeoutError):
        await storage.wait(sent.uuid, 0.05)
    with pytest.raises(ResultExpiredError):
        await storage.wait(new_uuid(), bench.patience_s)

    await eventually(lambda: b"w" not in server.names(), bench.patience_s)


async def test_a_task_costs_no_more_beside_a_hundred_thousand_that_wait(bench: Bench, server: Any) -> None:
    """Counted in commands, those of scripts too: beside one thousand and beside a hundred thousand."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    broker._heart.remove(broker)  # it would be counted too
    await consumer.subscribe(())

    async def life() -> int:
        await consumer.subscribe()
        before = server.counted()
        await _add(broker, 50)
        held = await consumer.receive(50)
        await broker.finish_and_settle([outcome(item, record=final(envelope_of(item))) for item in held])
        cost: int = server.counted() - before
        await consumer.subscribe(())
        return cost

    await _add(broker, 1_000)
    few = await life()
    for _ in range(99):
        await _add(broker, 1_000)
    many = await life()

    assert many <= few + 2


async def test_a_unique_key_that_was_left_behind_is_free(bench: Bench, server: Any) -> None:
    """Its task is gone without an end: nobody would ever free it."""
    broker: Any = await bench.broker()
    (lost,) = await _add(broker, 1, unique_key="k")
    server.command("DEL", server.key(b"r:" + lost.uuid.bytes))

    await _add(broker, 1, unique_key="k")


async def test_what_is_purged_or_deleted_is_told_to_who_waits(bench: Bench) -> None:
    """It will never come: not even after the timeout."""
    broker: Any = await bench.broker()
    storage = await bench.storage()
    for how in ("purge", "delete"):
        (sent,) = await _add(broker, 1, reply_to=storage.address)
        waiting = asyncio.ensure_future(storage.wait(sent.uuid, None))
        await asyncio.sleep(0)

        await (broker.purge("default") if how == "purge" else storage.delete([sent.uuid]))

        with pytest.raises(ResultExpiredError):
            await asyncio.wait_for(waiting, bench.patience_s)


async def test_an_end_is_kept_for_whoever_added_the_task(bench: Bench, server: Any) -> None:
    """It was told before anybody asked: to wait for it asks the server nothing."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    broker._heart.remove(broker)
    sent = await _add(broker, 5, reply_to=storage.address)
    held = await consumer.take(5)
    await broker.finish_and_settle([outcome(item, record=final(envelope_of(item))) for item in held])
    await storage.get([sent[0].uuid])
    await eventually(lambda: server.counted() - server.counted() == -1, bench.patience_s)  # what follows an end is done
    before = server.counted()

    got = [(await storage.wait(item.uuid, bench.patience_s)).status for item in sent]

    assert (got, server.counted() - before) == (["success"] * 5, 1)
