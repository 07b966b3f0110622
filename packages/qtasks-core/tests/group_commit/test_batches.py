"""What is written together: whatever has come by then, within limits, in order."""

from __future__ import annotations

import asyncio

from group_commit.bench import Server, commit, run, sized, submit


def test_what_arrives_during_a_write_goes_into_the_next_one() -> None:
    """The first item goes alone and at once; what comes while it is written is one batch."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.5)
        await asyncio.gather(first, submit(group, 1, 2, 3))

    run(main)

    assert [[0], [1, 2, 3]] == server.batches
    assert [0.0, 1.0] == server.at


def test_items_of_one_moment_are_one_batch() -> None:
    """Nothing waits on a timer, but what one turn of the loop submits is written together."""
    server = Server()

    async def main() -> None:
        await submit(commit(server), *range(100))

    run(main)

    assert [list(range(100))] == server.batches
    assert [0.0] == server.at


def test_a_batch_has_at_most_flush_items() -> None:
    """Order is kept from batch to batch."""
    server = Server()

    async def main() -> None:
        await commit(server, flush_items=4).submit_many(sized(range(10)), 30)

    run(main)

    assert [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] == server.batches


def test_a_batch_has_at_most_flush_bytes() -> None:
    """One that is larger than flush_bytes goes alone: it is never stuck."""
    server = Server()

    async def main() -> None:
        await commit(server, flush_bytes=10).submit_many([(0, 6), (1, 4), (2, 1), (3, 50), (4, 9), (5, 2)], 30)

    run(main)

    assert [[0, 1], [2], [3], [4], [5]] == server.batches


def test_drain_waits_for_everything() -> None:
    """After it nothing is left, and later items are written as before."""
    server, answered = Server(takes_s=1), list[Exception | None]()

    async def main() -> None:
        group = commit(server, flush_items=2)
        for item in range(5):
            group.put(item, 1, answered.append)
        assert 5 == len(group)
        await group.drain()
        assert 0 == len(group)
        assert [None] * 5 == answered
        await group.drain()
        assert [None] == await submit(group, 5)

    run(main)

    assert [[0, 1], [2, 3], [4], [5]] == server.batches
