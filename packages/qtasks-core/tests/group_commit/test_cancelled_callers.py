"""Callers that are cancelled take back what no write holds, and harm nobody else."""

from __future__ import annotations

import asyncio

import pytest

from group_commit.bench import Server, commit, run, sized, submit
from qtasks_core.errors import UnavailableError


def test_a_caller_that_is_cancelled_before_the_write_takes_its_item_back() -> None:
    """It is not written; its batch mates are."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        impatient = asyncio.create_task(group.submit(1, 1, 30))
        patient = asyncio.create_task(group.submit(2, 1, 30))
        await asyncio.sleep(0.5)
        impatient.cancel()
        await asyncio.gather(first, patient)
        assert impatient.cancelled()

    run(main)

    assert [[0], [2]] == server.batches


def test_a_caller_that_is_cancelled_during_the_write_cancels_it_for_nobody() -> None:
    """The write goes on, its batch mates are answered."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        tasks = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])

    run(main)

    assert [[0, 1, 2]] == server.batches


def test_what_a_cancelled_caller_left_in_a_failed_write_is_not_repeated() -> None:
    """Cancelled during a write that then fails: nobody wants that item any more."""
    server = Server(UnavailableError("down"), takes_s=1)

    async def main() -> None:
        group = commit(server)
        tasks = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])

    run(main)

    assert [[0, 1, 2], [0, 2]] == server.batches


def test_a_batch_whose_callers_are_all_gone_is_not_written() -> None:
    """Cancelled items make room, and what follows them is written."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        gone = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(1, 6)]
        last = asyncio.create_task(submit(group, 6))
        await asyncio.sleep(0.5)
        for task in gone:
            task.cancel()
        await asyncio.gather(first, last)

    run(main)

    assert [[0], [6]] == server.batches


def test_a_cancelled_submit_many_takes_back_what_no_write_holds() -> None:
    """As with submit: what is in flight is written, the rest is not."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2, buffer_items=4)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await group.submit_many(sized(range(20)), 30)
        await group.drain()
        assert [None] == await submit(group, 20)

    run(main)

    assert [[0, 1], [20]] == server.batches
