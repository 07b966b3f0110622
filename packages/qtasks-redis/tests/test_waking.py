"""Bells: one idle worker is woken, and one that does not follow hands on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtasks_testing.kit.samples import envelope, envelopes, uuids_of
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery
    from qtasks_testing.kit import Bench
    from qtasks_testing.kit.consumer import Consumer


def _idle(server: Any, queue: str = "default") -> int:
    return int(server.command("SCARD", server.key(f"z:{queue}")))


async def _asleep(bench: Bench, server: Any, consumer: Consumer, count: int) -> asyncio.Future[Sequence[Delivery]]:
    """Start a call of receive(), and return it when so many workers are known to be idle."""
    receiving = asyncio.ensure_future(consumer.broker.receive(10))
    await eventually(lambda: _idle(server) == count, bench.patience_s)
    return receiving


async def test_one_message_wakes_one_worker(bench: Bench, server: Any) -> None:
    """The others sleep on."""
    consumers = [await bench.consumer(f"w{number}") for number in range(3)]
    calls = [await _asleep(bench, server, one, number + 1) for number, one in enumerate(consumers)]

    await (await bench.sender()).send([envelope()])

    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting), _idle(server)) == (1, 2, 2)
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_worker_that_has_enough_wakes_the_next(bench: Bench, server: Any) -> None:
    """Twenty messages in one batch for two workers of ten slots each: one bell is rung by the sender."""
    consumers = [await bench.consumer(f"w{number}") for number in range(2)]
    calls = [await _asleep(bench, server, one, number + 1) for number, one in enumerate(consumers)]

    await (await bench.sender()).send(envelopes(20))

    assert [len(await asyncio.wait_for(call, bench.patience_s)) for call in calls] == [10, 10]


async def test_a_call_that_is_cancelled_in_its_sleep_is_rung_for_no_more(bench: Bench, server: Any) -> None:
    """Its bell would be heard by nobody."""
    consumer = await bench.consumer()
    call = await _asleep(bench, server, consumer, 1)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    await eventually(lambda: _idle(server) == 0, bench.patience_s)


async def test_a_bell_that_rings_for_a_cancelled_call_is_handed_on(bench: Bench, server: Any) -> None:
    """Whoever else sleeps takes the message."""
    first, second = await bench.consumer("w1"), await bench.consumer("w2")
    call = await _asleep(bench, server, first, 1)
    sender = await bench.sender()
    for number in range(30):
        other = await _asleep(bench, server, second, 2)
        sent = envelope()
        sending = asyncio.ensure_future(sender.send([sent]))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        call.cancel()
        got = (await asyncio.gather(call, return_exceptions=True))[0]
        await sending
        if isinstance(got, BaseException):
            got = await asyncio.wait_for(other, bench.patience_s)
        else:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
        assert uuids_of(got) == [sent.uuid]
        await eventually(lambda: _idle(server) == 0, bench.patience_s)
        call = await _asleep(bench, server, first, 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_a_worker_of_two_queues_is_idle_in_none_when_it_has_taken(bench: Bench, server: Any) -> None:
    """Woken for one queue, it would be rung for in vain by the other."""
    consumer = await bench.consumer(queues=("default", "other"))
    call = await _asleep(bench, server, consumer, 1)
    assert _idle(server, "other") == 1

    await (await bench.sender()).send([envelope()])
    await asyncio.wait_for(call, bench.patience_s)

    assert (_idle(server), _idle(server, "other")) == (0, 0)


async def test_a_worker_hears_of_what_came_while_it_did_not_listen(bench: Bench, server: Any) -> None:
    """The connection that listens was cut; what was rung meanwhile is lost, so it looks."""
    consumer = await bench.consumer()
    call = await _asleep(bench, server, consumer, 1)
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    sent = envelope()

    await (await bench.sender()).send([sent])

    assert uuids_of(await asyncio.wait_for(call, bench.patience_s)) == [sent.uuid]


async def test_a_bell_of_a_queue_that_was_just_paused_does_not_deafen_the_worker(bench: Bench) -> None:
    """Whenever the pause comes: it hears of its other queue, and what waits in the paused one is taken later."""
    consumer, sender = await bench.consumer(queues=("a", "b")), await bench.sender()
    for number in range(40):
        receiving = asyncio.ensure_future(consumer.broker.receive(10))
        await asyncio.sleep(0.002)
        of_paused, of_other = envelope("a"), envelope("b")
        sending = asyncio.ensure_future(sender.send([of_paused]))
        for _ in range(number % 8):
            await asyncio.sleep(0)
        await consumer.subscribe(("b",))
        await sending
        await sender.send([of_other])

        got = list(await asyncio.wait_for(receiving, bench.patience_s))
        if len(got) == 1:
            await consumer.subscribe(("a", "b"))
            got += await consumer.take(1)
        await consumer.subscribe(("a", "b"))
        assert sorted(uuids_of(got)) == sorted([of_paused.uuid, of_other.uuid])
        await consumer.ack(*got)


async def test_a_bell_of_another_queue_is_handed_on_alone(bench: Bench, server: Any) -> None:
    """It was rung before the worker gave that queue up: in its own it stays idle, or looks again."""
    consumer = await bench.consumer()
    call = await _asleep(bench, server, consumer, 1)
    broker: Any = consumer.broker

    broker.heard(b"Bgiven up")
    await asyncio.sleep(0.02)  # whatever that leads to
    sent = envelope()
    await (await bench.sender()).send([sent])

    assert uuids_of(await asyncio.wait_for(call, bench.patience_s)) == [sent.uuid]
