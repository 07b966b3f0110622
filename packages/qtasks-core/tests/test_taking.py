"""Taking deliveries, and being kept from it: what is taken is never torn, and a stop is never mistaken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from qtasks_core.contract import Delivery
from qtasks_core.worker.taking import Taking

DELIVERY = Delivery(None, 1)


class _Broker:
    """Gives what is put into its queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self.calls = 0
        self.is_deaf = False

    async def receive(self, limit: int, per_queue: Any = None) -> Sequence[Delivery]:
        self.calls += 1
        try:
            return [await self.queue.get()]
        except asyncio.CancelledError:
            if not self.is_deaf:
                raise
            return [DELIVERY]


@pytest.fixture
def broker() -> _Broker:
    return _Broker()


@pytest.fixture
def taking(broker: _Broker) -> Taking:
    anything: Any = broker
    return Taking(anything)


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_the_broker_has_is_taken(broker: _Broker, taking: Taking) -> None:
    """At once, or when it comes."""
    taker = asyncio.create_task(taking.take(1))
    await _turns()
    broker.queue.put_nowait(DELIVERY)

    assert [DELIVERY] == await taker


async def test_a_call_under_way_is_ended_and_the_next_waits(broker: _Broker, taking: Taking) -> None:
    """Held off, nothing is asked of the broker; then it goes on, with a new limit."""
    taker = asyncio.create_task(taking.take(1))
    await _turns()
    await taking.hold_off(30)
    assert () == await taker
    assert 0 == taker.cancelling()
    again = asyncio.create_task(taking.take(1))
    await _turns()
    assert 1 == broker.calls
    taking.go_on()
    assert () == await again
    broker.queue.put_nowait(DELIVERY)
    assert [DELIVERY] == await taking.take(1)


async def test_it_goes_on_by_itself(broker: _Broker, taking: Taking) -> None:
    """After the longest time that it may be held off."""
    await taking.hold_off(0.01)
    broker.queue.put_nowait(DELIVERY)
    assert () == await taking.take(1)
    assert [DELIVERY] == await taking.take(1)


async def test_an_earlier_hold_does_not_end_a_later_one(broker: _Broker, taking: Taking) -> None:
    """Each has its own time."""
    await taking.hold_off(0.01)
    taking.go_on()
    await taking.hold_off(0.01)
    await taking.hold_off(30)
    await asyncio.sleep(0.05)
    taker = asyncio.create_task(taking.take(1))
    await _turns()
    assert not taker.done()
    taking.go_on()
    assert () == await taker


async def test_a_stop_is_a_stop(taking: Taking) -> None:
    """Cancelled from outside: alone, together with a hold, and during one."""
    for holds in ([], [0.0], [30.0]):
        taker = asyncio.create_task(taking.take(1))
        await _turns()
        holding = [asyncio.create_task(taking.hold_off(longest_s)) for longest_s in holds]
        await asyncio.sleep(0)
        taker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taker
        await asyncio.gather(*holding)
        taking.go_on()
    await taking.hold_off(30)
    taker = asyncio.create_task(taking.take(1))
    await _turns()
    taker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taker


async def test_what_a_broker_gives_in_spite_of_it_is_taken(broker: _Broker, taking: Taking) -> None:
    """One that answers a cancelled call has handed its deliveries over: they are not lost, nor the next stop."""
    broker.is_deaf = True
    taker = asyncio.create_task(taking.take(1))
    await _turns()
    await taking.hold_off(30)
    assert [DELIVERY] == await taker
    assert 0 == taker.cancelling()
