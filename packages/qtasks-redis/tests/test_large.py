"""Large values go beside the scripts: they arrive, are replaced and end like any other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Dead, Depth, Release, Retry
from qtasks_core.errors import AlreadyExists, ResultExpiredError
from qtasks_core.task import Task
from qtasks_redis._values import LARGE
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import envelope, envelope_of, final, next_attempt, outcome, record

if TYPE_CHECKING:
    from qtasks_core.contract import Envelope
    from qtasks_testing.kit import Bench

CONFIG = QueueConfig(lease_ttl=5.0, max_message_bytes=1024 * 1024)
BODY = bytes(range(256)) * (LARGE // 256 + 1)


@pytest.fixture(autouse=True)
def _large(bench: Bench) -> None:
    bench.context = KitContext(bench.context.namespace, CONFIG)


def _sent(**fields: Any) -> Envelope:
    return envelope(body=BODY, **fields)


async def test_a_large_message_arrives_beside_small_ones_in_order(bench: Bench) -> None:
    """In one batch, as they were sent."""
    sent = [envelope(), _sent(), envelope(), _sent(delay_s=0.001)]
    consumer = await bench.consumer()

    assert list(await consumer.broker.send(sent)) == [None] * 4
    got = await consumer.take(4)

    assert [item.envelope for item in got] == sent
    await consumer.ack(*got)


async def test_a_large_message_is_there_already(bench: Bench, server: Any) -> None:
    """Sent twice it is queued once, and what was sent beside the script goes."""
    consumer, sent = await bench.consumer(), _sent()
    await consumer.broker.send([sent])

    again = await consumer.broker.send([sent])

    assert [type(answer) for answer in again] == [AlreadyExists]
    assert b"b:" not in server.names()
    assert [item.envelope for item in await consumer.drain()] == [sent]


async def test_a_large_message_is_retried_released_and_buried(bench: Bench) -> None:
    """Each verdict leaves its body as it was, or as the engine made it anew."""
    consumer, sent = await bench.consumer(), _sent()
    await consumer.broker.send([sent])

    held = await consumer.take_one()
    following = next_attempt(held, body=BODY[::-1])
    await consumer.settle(outcome(held, Retry(following)))
    held = await consumer.take_one()
    await consumer.settle(outcome(held, Release()))
    held = await consumer.take_one()
    assert held.envelope == following

    await consumer.settle(outcome(held, Dead("why")))
    broker: Any = consumer.broker
    assert [item async for _, item, _ in broker.peek("default", dead=True)] == [following]
    assert await consumer.broker.depth("default") == Depth(0, 0, 0, 1)


async def test_a_large_result_reaches_who_waits_and_who_asks_later(bench: Bench, server: Any) -> None:
    """It is too large for a mailbox: the waiter is told to fetch it."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    sent = envelope(reply_to=storage.address)
    await broker.add_and_send([(record(sent), sent)])
    waiting = asyncio.ensure_future(storage.wait(sent.uuid, bench.patience_s))
    held = await consumer.take_one()

    await broker.finish_and_settle([outcome(held, record=final(envelope_of(held), result=BODY))])

    assert (await waiting).result == BODY
    assert (await storage.wait(sent.uuid, bench.patience_s)).result == BODY
    ttl = server.command("TTL", server.key(b"r:" + sent.uuid.bytes))
    assert 0 < ttl <= CONFIG.result_ttl


async def test_many_large_messages_are_taken_in_portions(bench: Bench) -> None:
    """A take stops at its bytes, and the rest comes with the next."""
    consumer = await bench.consumer()
    sent = [envelope(body=bytes(LARGE)) for _ in range(60)]  # just not large: through the script
    await consumer.broker.send(sent)

    first = await consumer.receive(60)
    rest = await consumer.take(60 - len(first))

    assert len(first) < 60
    assert [item.envelope for item in (*first, *rest)] == sent


async def test_large_arguments_are_not_kept_with_the_result(bench: Bench) -> None:
    """They would take the server's memory until the result expires; whoever asks for them is told."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    sent = _sent()
    await broker.add_and_send([(record(sent), sent)])
    held = await consumer.take_one()
    (before,) = await storage.get([sent.uuid])
    await broker.finish_and_settle([outcome(held, record=final(sent))])

    (after,) = await storage.get([sent.uuid])

    assert (before and before.body, after and after.body) == (BODY, b"")
    assert after is not None
    with pytest.raises(ResultExpiredError, match="arguments were not kept"):
        _ = Task(QueueTasks("app", bench.subject.url).core, after).args
