"""Bounded buffers: who finds no room waits in line."""

from __future__ import annotations

import asyncio

import pytest

from group_commit.bench import Server, commit, kinds, run, sized, submit
from qtasks_core.errors import SendRefusedError, UnavailableError


def test_a_full_buffer_lets_callers_wait_and_wakes_them() -> None:
    """buffer_items wait for the write in flight; the others wait for room, in order, and all are written."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2, buffer_items=3)
        callers = asyncio.create_task(submit(group, *range(10)))
        for _ in range(5):
            await asyncio.sleep(0.9)
            assert len(group) <= 3
        assert [None] * 10 == await callers

    run(main)

    assert list(range(10)) == [item for batch in server.batches for item in batch]


def test_a_buffer_is_full_by_bytes_too() -> None:
    """Large items wait for room long before buffer_items of them are there."""
    server, most = Server(takes_s=1), 0

    async def main() -> None:
        nonlocal most
        group = commit(server, flush_bytes=100, buffer_bytes=250)
        callers = [asyncio.create_task(group.submit(item, 100, 30)) for item in range(10)]
        while not all(task.done() for task in callers):
            await asyncio.sleep(0.1)
            most = max(most, len(group))

    run(main)

    assert 3 == most
    assert [[item] for item in range(10)] == server.batches


def test_a_list_far_larger_than_the_buffer_is_written() -> None:
    """submit_many feeds the buffer as it empties; every item is written once, in order."""
    server, most = Server(), 0

    async def main() -> list[Exception | None]:
        nonlocal most
        group = commit(server, flush_items=10, buffer_items=25)
        writing = asyncio.create_task(group.submit_many(sized(range(1000)), 30))
        while not writing.done():
            await asyncio.sleep(0.0005)
            most = max(most, len(group))
        return await writing

    assert [None] * 1000 == run(main)
    assert list(range(1000)) == [item for batch in server.batches for item in batch]
    assert most <= 25


def test_a_list_larger_than_the_buffer_is_refused_item_by_item_when_the_server_is_away() -> None:
    """Each item that found no room in time says so; those that waited for the server say what it said."""
    server = Server(*[UnavailableError("down")] * 1000)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=2, buffer_items=5).submit_many(sized(range(8)), 1)

    answers = run(main)

    assert [SendRefusedError] * 8 == kinds(answers)
    assert "not queued: down" == str(answers[0])
    assert (
        "the buffer of numbers was full (buffer_items 5, buffer_bytes 33554432) for the whole send_timeout: "
        "the server is away or too slow"
    ) == str(answers[7])


def test_a_caller_that_finds_no_room_in_time_is_refused() -> None:
    """The message names both bounds; nothing of it is ever written."""
    server = Server(takes_s=10)

    async def main() -> None:
        group = commit(server, flush_items=1, buffer_items=1)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        second = asyncio.create_task(submit(group, 1))
        await asyncio.sleep(0.001)
        with pytest.raises(SendRefusedError, match=r"the buffer of numbers was full \(buffer_items 1, buffer_bytes"):
            await group.submit(2, 1, 5)
        await asyncio.gather(first, second)

    run(main)

    assert [[0], [1]] == server.batches


def test_a_waiter_for_room_that_is_cancelled_holds_up_nobody() -> None:
    """Let in and cancelled in the same moment: the next in line has the place, though nothing else happens."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=1, buffer_items=1)
        tasks = [asyncio.create_task(group.submit(item, 1, 1e6)) for item in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server_has_first = [[0]] == server.batches
        assert server_has_first
        tasks[1].cancel()  # it has just been let in, and does not know yet
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers[1], asyncio.CancelledError)
        assert [None] * 3 == [answers[0], *answers[2:]]

    run(main)


def test_callers_that_come_again_and_again_starve_nobody() -> None:
    """Twice as many busy callers as there is room: each gets its turn, as often as the others."""
    server = Server()
    done = [0] * 40

    async def main() -> None:
        group = commit(server, flush_items=10, buffer_items=20)

        async def busy(index: int) -> None:
            while True:
                await group.submit(index, 1, 1e6)
                done[index] += 1

        callers = [asyncio.create_task(busy(index)) for index in range(40)]
        await asyncio.sleep(1)
        for caller in callers:
            caller.cancel()

    run(main)

    assert 100 <= min(done)
    assert max(done) <= min(done) + 2
