"""What belongs to whom: sets of ids in flight, turns, epochs, and replies that never came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.contract import Dead, Depth, Release, Retry
from qtasks_core.errors import FencedError, SendUnknownError
from qtasks_redis.broker import GIVE_BACK, TAKE
from qtasks_testing.kit.samples import envelope, envelope_of, envelopes, final, next_attempt, outcome, record, uuids_of

if TYPE_CHECKING:
    from qtasks_core.contract import Outcome
    from qtasks_testing.kit import Bench
    from qtasks_testing.kit.consumer import Consumer


def _lose_next_reply(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server do what it is asked next, and nobody hear of it."""
    run = broker.link.run

    async def deaf(*args: Any) -> Any:
        monkeypatch.setattr(broker.link, "run", run)
        await run(*args)
        raise SendUnknownError("the reply was lost")

    monkeypatch.setattr(broker.link, "run", deaf)


def _outcomes(consumer: Consumer, held: Any) -> dict[str, Outcome]:
    return {
        "record": outcome(held, record=final(envelope_of(held))),
        "retry": outcome(held, Retry(next_attempt(held))),
        "dead": outcome(held, Dead("why")),
        "bare": outcome(held),
    }


@pytest.mark.parametrize("how", ["record", "retry", "dead", "bare"])
async def test_an_end_whose_reply_was_lost_is_repeated_without_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It was done the first time: the key of the task tells."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    await broker.send([envelope()])
    ending = _outcomes(consumer, await consumer.take_one())[how]
    _lose_next_reply(broker, monkeypatch)
    with pytest.raises(SendUnknownError):
        await broker.finish_and_settle([ending])

    assert list(await broker.finish_and_settle([ending])) == [None]
    assert [type(answer) for answer in await broker.finish_and_settle([ending])] == [FencedError]


async def test_an_end_that_somebody_else_wrote_meanwhile_is_not_taken_for_ones_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply was lost, the request too, and the successor was quicker: fenced."""
    zombie, other = await bench.consumer(), await bench.consumer("w2")
    broker: Any = zombie.broker
    await broker.send([envelope()])
    ending = outcome(held := await zombie.take_one(), record=final(envelope_of(held), result=b"\x01"))
    await zombie.subscribe(())

    async def deaf(*_: Any) -> Any:
        raise SendUnknownError("the request was lost")

    with monkeypatch.context() as patched:
        patched.setattr(broker.link, "run", deaf)
        with pytest.raises(SendUnknownError):
            await broker.finish_and_settle([ending])
    await broker.evict("w1")
    successor: Any = other.broker
    new = await other.take_one()
    await successor.finish_and_settle([outcome(new, record=final(envelope_of(new), result=b"\x02"))])

    assert [type(answer) for answer in await broker.finish_and_settle([ending])] == [FencedError]


async def test_what_a_take_took_whose_reply_was_lost_is_given_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncharged, without anybody's help; the worker itself gets it."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    sent = envelopes(3)
    await broker.send(sent)
    _lose_next_reply(broker, monkeypatch)
    with pytest.raises(Exception, match="lost"):
        await broker.receive(3)

    got = await consumer.take(3)

    assert sorted(uuids_of(got)) == sorted(item.uuid for item in sent)
    assert [item.crashes for item in got] == [0] * 3


async def test_a_take_that_arrives_after_it_was_given_up_takes_nothing(bench: Bench) -> None:
    """It was on its way on a connection that is gone: nobody would ever know of what it took."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    await broker.send([envelope()])
    turn = 1_000_000
    mark = turn.to_bytes(4, "big")
    await broker.link.run(GIVE_BACK, b"w1", broker.epoch, turn, mark)

    taken = await broker.link.run(TAKE, b"w1", broker.epoch, turn, mark, 10, 1_000_000, 0, b"default", 10)

    assert not taken
    assert await broker.depth("default") == Depth(1, 0, 0, 0)


async def test_cancelled_ids_are_dropped_and_not_counted(bench: Bench, server: Any) -> None:
    """They stay in their list until a worker meets them; the depth is exact all the while."""
    sender: Any = await bench.broker()
    sent = envelopes(4)
    await sender.add_and_send([(record(item), item) for item in sent])

    await sender.cancel([item.uuid for item in sent[:3]], "not wanted")

    assert await sender.depth("default") == Depth(1, 0, 0, 0)
    consumer = await bench.consumer()
    assert uuids_of(await consumer.drain()) == [sent[3].uuid]
    assert await sender.depth("default") == Depth(0, 0, 1, 0)
    assert not server.names() & {b"g", b"f", b"q:", b"p:"}


async def test_a_uuid_that_is_sent_anew_beside_its_cancelled_place_is_delivered_once(bench: Bench) -> None:
    """A place belongs to one life of the uuid."""
    sender: Any = await bench.broker()
    storage = await bench.storage()
    sent = envelope()
    await sender.add_and_send([(record(sent), sent)])
    await sender.cancel([sent.uuid], "not wanted")
    await storage.delete([sent.uuid])
    assert list(await sender.add_and_send([(record(sent), sent)])) == [None]

    assert uuids_of(await (await bench.consumer()).drain()) == [sent.uuid]


async def test_an_end_of_the_storage_is_remembered_until_the_worker_comes(bench: Bench, server: Any) -> None:
    """The first final record wins; nothing of the memory is left."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    held = await consumer.take_one()
    await storage.finish([final(sent, result=b"\x01")])

    await broker.finish_and_settle([outcome(held, record=final(sent, result=b"\x02"))])

    (got,) = await storage.get([sent.uuid])
    assert got is not None
    assert got.result == b"\x01"
    assert b"f" not in server.names()


async def test_a_released_delivery_does_not_say_that_it_runs(bench: Bench) -> None:
    """Whoever marked it has given it back."""
    consumer, storage = await bench.consumer(), await bench.storage()
    broker: Any = consumer.broker
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    held = await consumer.take_one()
    await storage.mark([record(sent, "process", worker="w1", started_at=1.0)])

    await broker.finish_and_settle([outcome(held, Release())])
    await consumer.subscribe(())

    (got,) = await storage.get([sent.uuid])
    assert got is not None
    assert got.status == "new"


async def test_the_oldest_dead_letters_go(bench: Bench) -> None:
    """With their records, beyond dead_letter_max."""
    consumer = await bench.consumer()
    broker: Any = consumer.broker
    consumer.broker._context._config = bench.context.config.__class__(dead_letter_max=2, lease_ttl=5.0)  # type: ignore[attr-defined]
    sent = envelopes(5)
    await broker.send(sent)
    held = await consumer.take(5)

    await consumer.settle(*(outcome(item, Dead("why")) for item in held))

    assert [item.uuid async for _, item, _ in broker.peek("default", dead=True)] == uuids_of(held[3:])
    assert list(await broker.send(sent[:1])) == [None]
