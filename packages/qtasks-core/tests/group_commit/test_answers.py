"""Each item has its own answer, and what was not answered for good is written again."""

from __future__ import annotations

import asyncio

import pytest

from group_commit.bench import Server, commit, kinds, run, sized, submit
from qtasks_core.errors import (
    AlreadyExists,
    AlreadyFinal,
    FencedError,
    RefusedError,
    SendRefusedError,
    SendUnknownError,
    UnavailableError,
)
from qtasks_core.group_commit import Backoff
from qtasks_core.naming import new_uuid


def test_each_item_gets_its_own_answer() -> None:
    """A refused item is SendRefusedError with the component's words; other answers are raised as they are."""
    answers = {1: RefusedError("no room"), 3: FencedError("gone"), 4: AlreadyFinal("kept")}
    server = Server(answers)

    async def main() -> list[Exception | None]:
        return await submit(commit(server), *range(6))

    got = run(main)

    assert [None, SendRefusedError, None, FencedError, AlreadyFinal, None] == kinds(got)
    assert "no room" == str(got[1])
    assert answers[3] is got[3]


def test_submit_many_answers_in_the_order_of_its_items() -> None:
    """One error or None for each."""
    server = Server({0: RefusedError("a")}, {2: FencedError("b")})

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=2).submit_many(sized(range(4)), 30)

    assert [SendRefusedError, None, FencedError, None] == kinds(run(main))


def test_submit_many_of_nothing_writes_nothing() -> None:
    """An empty list is an empty answer, at once."""
    server = Server()

    async def main() -> list[Exception | None]:
        return await commit(server).submit_many([], 30)

    assert [] == run(main)
    assert [] == server.batches


def test_what_a_server_that_is_away_did_not_take_is_repeated_in_order() -> None:
    """Per item: what was written is not written again, the rest goes first, before what came meanwhile."""
    server = Server({1: UnavailableError("down"), 2: UnavailableError("down")}, takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0, 1, 2, 3))
        await asyncio.sleep(0.5)
        assert [None] * 2 == await submit(group, 4, 5)
        assert [None] * 4 == await first

    run(main)

    assert [[0, 1, 2, 3], [1, 2, 4, 5]] == server.batches


@pytest.mark.parametrize("error", [UnavailableError("down"), SendUnknownError("cut")])
def test_a_write_that_raises_repeats_all_of_it_in_order(error: Exception) -> None:
    """Whatever the server says of the whole write is said of each item."""
    server = Server(error, error)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=3).submit_many(sized(range(5)), 30)

    assert [None] * 5 == run(main)
    assert [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3, 4]] == server.batches


def test_a_server_that_is_away_is_asked_more_and_more_rarely() -> None:
    """50 ms at first, doubling up to 5 s, each with jitter: at most ten asks in the first half minute."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> None:
        await submit(commit(server), 0)

    run(main)
    waits = [after - before for before, after in zip(server.at, server.at[1:], strict=False)]

    for wait, expected in zip(waits, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=False):
        assert expected / 2 <= wait - server.takes_s <= expected
    assert len(server.at) <= 20


def test_after_a_success_the_waits_are_short_again() -> None:
    """Two short outages cost two short waits."""
    down = UnavailableError("down")
    server = Server(down, down, down, None, down)

    async def main() -> None:
        group = commit(server)
        await submit(group, 0)
        await submit(group, 1)

    run(main)

    assert server.at[5] - server.at[4] <= 0.05 + server.takes_s


def test_reset_makes_a_backoff_short_again() -> None:
    """Whoever loops by itself uses the same growing waits."""

    async def main() -> tuple[float, float]:
        backoff, loop = Backoff(longest_s=2), asyncio.get_running_loop()
        for _ in range(20):
            await backoff.wait()
        before = loop.time()
        await backoff.wait()
        longest = loop.time() - before
        backoff.reset()
        before = loop.time()
        await backoff.wait()
        return longest, loop.time() - before

    longest, shortest = run(main)

    assert 1 <= longest <= 2
    assert 0.025 <= shortest <= 0.05


def test_a_uuid_answer_is_handed_on_as_it_is() -> None:
    """AlreadyExists carries the uuid that is there; group commit does not look into it."""
    there = AlreadyExists(new_uuid())
    server = Server({0: there})

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0)

    assert [there] == run(main)
