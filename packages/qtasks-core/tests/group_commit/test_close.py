"""The app stops: everybody is answered, and truly."""

from __future__ import annotations

import asyncio

from group_commit.bench import Server, commit, kinds, run, sized, submit
from qtasks_core.errors import SendRefusedError, SendUnknownError, UnavailableError


def test_close_tells_what_may_be_queued_from_what_is_not() -> None:
    """In flight: perhaps. In the buffer, waiting for room, and whoever comes later: certainly not."""
    server = Server(takes_s=100)

    async def main() -> list[Exception | None]:
        group = commit(server, flush_items=2, buffer_items=2)
        callers = asyncio.create_task(submit(group, *range(6)))
        await asyncio.sleep(1)
        await group.close()
        answers = [*await callers, *await submit(group, 6), *await group.submit_many(sized([7]), 30)]
        group.put(8, 1, answers.append)
        await group.drain()
        await group.close()
        return answers

    answers = run(main)

    assert [SendUnknownError] * 2 + [SendRefusedError] * 7 == kinds(answers)
    assert "it may be queued; last answer: the app was stopped" == str(answers[0])
    assert "not queued: the app was stopped" == str(answers[2])
    assert "the app was stopped" in str(answers[4])
    assert "the app was stopped" in str(answers[6])
    assert [[0, 1]] == server.batches


def test_close_while_items_are_written_alone_answers_all_of_them() -> None:
    """In the way out for bad items too, each caller gets an answer when the app stops."""
    server = Server(ValueError("odd"), takes_s=1)

    async def main() -> list[Exception | None]:
        group = commit(server)
        callers = asyncio.create_task(submit(group, *range(4)))
        await asyncio.sleep(2.5)
        await group.close()
        return await callers

    assert [SendUnknownError] * 4 == kinds(run(main))
    assert [[0, 1, 2, 3], [0], [1]] == server.batches


def test_close_while_a_server_is_away_answers_what_waits() -> None:
    """Nothing was taken, so everything is certainly not queued."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> list[Exception | None]:
        group = commit(server)
        callers = asyncio.create_task(submit(group, 0, 1, timeout_s=1e6))
        await asyncio.sleep(60)
        await group.close()
        return await callers

    assert [SendRefusedError] * 2 == kinds(run(main))


def test_close_before_the_first_write_began_answers_it() -> None:
    """Put and closed in one turn of the loop: the answer comes, and a drain after it ends."""
    server, answered = Server(), list[Exception | None]()

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.close()
        await group.drain()

    run(main)

    assert [SendRefusedError] == kinds(answered)
    assert [] == server.batches


def test_close_of_an_idle_one_does_nothing() -> None:
    """Nothing was written, nothing is waited for."""

    async def main() -> float:
        await commit(Server()).close()
        return asyncio.get_running_loop().time()

    assert 0.0 == run(main)
