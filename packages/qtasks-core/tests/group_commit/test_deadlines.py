"""Time is over: the item is certainly not queued, or it may be, and the caller is told which."""

from __future__ import annotations

import asyncio

from group_commit.bench import Server, commit, kinds, run, sized, submit
from qtasks_core.errors import RefusedError, SendRefusedError, SendUnknownError, UnavailableError


def test_a_server_that_stays_away_is_a_refusal() -> None:
    """The item is certainly not queued, and the caller is told why, soon after its time."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> tuple[list[Exception | None], float]:
        answers = await submit(commit(server), 0, timeout_s=3)
        return answers, asyncio.get_running_loop().time()

    answers, after_s = run(main)

    assert [SendRefusedError] == kinds(answers)
    assert "not queued: down" == str(answers[0])
    assert 3 <= after_s <= 3 + 3.2 + 0.1


def test_a_reply_that_never_came_is_an_unknown() -> None:
    """Once the item may have arrived, later refusals to connect do not make it certain that it has not."""
    server = Server(SendUnknownError("cut"), *[UnavailableError("down")] * 100)

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, timeout_s=3)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: down" == str(answers[0])


def test_without_a_deadline_an_item_is_repeated_until_it_is_answered() -> None:
    """What a worker puts is never given up for a server that is away, however long."""
    server = Server(*[UnavailableError("down"), SendUnknownError("cut")] * 200)
    answered: list[Exception | None] = []

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.drain()

    run(main)

    assert [None] == answered
    assert 401 == len(server.batches)


def test_a_refusal_after_a_lost_reply_is_no_certainty() -> None:
    """The first write may have arrived, so the caller is not told that the item is certainly not queued."""
    server = Server(SendUnknownError("cut"), {0: RefusedError("full")})

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: full" == str(answers[0])


def test_what_a_worker_puts_is_told_of_a_refusal_at_any_time() -> None:
    """Without a deadline the refusal is what counts: the worker then writes something else in its place."""
    server, answered = Server(SendUnknownError("cut"), {0: RefusedError("full")}), list[Exception | None]()

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.drain()

    run(main)

    assert [SendRefusedError] == kinds(answered)


def test_a_write_that_hangs_is_given_up() -> None:
    """After write_timeout_s its items are repeated; with no time left they are told that they may be queued."""
    server = Server(takes_s=1e9)

    async def main() -> list[Exception | None]:
        return await submit(commit(server, write_timeout_s=2), 0, 1, timeout_s=5)

    answers = run(main)

    assert [SendUnknownError] * 2 == kinds(answers)
    assert "it may be queued; last answer: no answer within 2 s" == str(answers[0])
    assert 1 < len(server.batches)


def test_a_server_that_hangs_holds_nobody_longer_than_its_time_and_one_write() -> None:
    """What waits behind a write that hangs is given up with it when its time is over: not one batch after the other."""
    server = Server(takes_s=1e9)

    async def main() -> tuple[list[Exception | None], float]:
        answers = await commit(server, flush_items=10, write_timeout_s=30).submit_many(sized(range(100)), 30)
        return answers, asyncio.get_running_loop().time()

    answers, after_s = run(main)

    assert [SendUnknownError] * 10 + [SendRefusedError] * 90 == kinds(answers)
    assert "not queued: no answer within 30 s" == str(answers[99])
    assert 30 <= after_s < 31


def test_a_slow_server_refuses_nobody_who_is_served() -> None:
    """Time that passes while the server works is no reason to give up an item that it then takes."""
    server = Server(takes_s=2)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=1).submit_many(sized(range(5)), 3)

    assert [None] * 5 == run(main)
