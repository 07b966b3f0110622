"""A bounded space: first come, first served, and no turn is ever lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from qtasks_core.room import Room

LONG = 1e9


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _queue(room: Room, names: Sequence[str], came_in: list[str], size: int = 1) -> list[asyncio.Task[None]]:
    """Let callers wait, one after the other; *came_in* gets their names as they are let in."""

    async def wait(name: str) -> None:
        await room.wait(size, LONG)
        came_in.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in names]
    await _turns()
    return tasks


async def test_it_is_full_by_items() -> None:
    """The last free place is taken, the next caller is not let in."""
    room = Room(2, 100)

    assert [True, True, False] == [room.try_take(1) for _ in range(3)]
    room.leave(1, 1)

    assert room.try_take(1)


async def test_it_is_full_by_bytes() -> None:
    """The last item may exceed the bytes: one that is larger than the whole room is let in when nothing is inside."""
    room = Room(100, 10)

    assert [True, False] == [room.try_take(1000), room.try_take(1)]
    room.leave(1, 1000)

    assert [True, True, False] == [room.try_take(6), room.try_take(6), room.try_take(0)]


async def test_who_waits_is_let_in_in_order() -> None:
    """Each one that leaves lets the oldest waiter in."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    tasks = await _queue(room, "abc", came_in)
    assert [] == came_in
    for _ in tasks:
        room.leave(1, 1)
        await _turns()

    assert ["a", "b", "c"] == came_in


async def test_who_comes_later_does_not_overtake() -> None:
    """A place that was freed belongs to who waits, before it has even noticed."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    await _queue(room, "a", came_in)
    room.leave(1, 1)

    assert not room.try_take(1)
    await _turns()

    assert ["a"] == came_in


async def test_large_items_are_let_in_one_by_one() -> None:
    """Bytes count from the moment that a waiter is let in, so no crowd of them exceeds the room."""
    room, came_in = Room(100, 10), list[str]()
    room.take(10)
    await _queue(room, "abc", came_in, size=10)
    room.leave(1, 10)
    await _turns()

    assert ["a"] == came_in


async def test_a_waiter_gives_up_at_its_deadline() -> None:
    """TimeoutError; the room is as it was, and the next in line gets the next place."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    with pytest.raises(TimeoutError):
        await room.wait(1, asyncio.get_running_loop().time() + 0.01)
    await _queue(room, "a", came_in)
    room.leave(1, 1)
    await _turns()

    assert ["a"] == came_in


async def test_gone_waiters_do_not_hold_up_a_room_with_places() -> None:
    """Who comes when only waiters that gave up are before it, and a place is free, is let in at once."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    for task in await _queue(room, "ab", came_in):
        task.cancel()
    await _turns()
    room.leave(1, 1)
    await asyncio.wait_for(room.wait(1, LONG), 5)

    assert room.is_full


async def test_a_turn_of_a_cancelled_waiter_goes_to_the_next() -> None:
    """One that is let in and cancelled in the same moment passes its place on."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    first, _ = await _queue(room, "ab", came_in)
    room.leave(1, 1)  # the first is let in ...
    first.cancel()  # ... and does not come
    await _turns()

    assert ["b"] == came_in


async def test_a_closed_room_lets_nobody_in() -> None:
    """Who waits and who comes later gets the error."""
    room, came_in = Room(1, 100), list[str]()
    room.take(1)
    (task,) = await _queue(room, "a", came_in)
    room.close(ValueError("closed"))
    room.leave(1, 1)
    with pytest.raises(ValueError, match="closed"):
        await task

    assert not room.try_take(1)
    with pytest.raises(ValueError, match="closed"):
        await room.wait(1, LONG)


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_in_any_order_of_events(seed: int) -> None:
    """Callers come, go, are cancelled and run out of time at random: at the end the room is empty and usable."""
    dice = random.Random(seed)
    room = Room(3, 30)
    inside = most = 0

    async def visit() -> None:
        nonlocal inside, most
        size = dice.randrange(12)
        if not room.try_take(size):
            await room.wait(size, asyncio.get_running_loop().time() + dice.choice([0.001, LONG]))
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(dice.choice([0, 0, 0.0005]))
        finally:
            inside -= 1
            room.leave(1, size)

    visits = [asyncio.create_task(visit()) for _ in range(100)]
    for _ in range(30):
        await asyncio.sleep(0)
        dice.choice(visits).cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*visits, return_exceptions=True)

    assert 0 < most <= 3
    assert [True, True, True, False] == [room.try_take(1) for _ in range(4)]
