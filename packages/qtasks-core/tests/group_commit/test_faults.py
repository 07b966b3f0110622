"""Faults of components: one bad item fails no other, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from group_commit.bench import Server, commit, kinds, run, submit
from qtasks_core.contract import PerItem
from qtasks_core.errors import SendUnknownError, UnavailableError


def test_one_bad_item_fails_no_other() -> None:
    """A component raises for a whole batch because of one item: each is written alone, one caller gets the error."""

    async def write(batch: Sequence[int]) -> PerItem:
        if 2 in batch:
            raise ValueError("cannot encode 2")
        written.extend(batch)
        return [None] * len(batch)

    written: list[int] = []

    async def main() -> list[Exception | None]:
        return await submit(commit(write), *range(5))

    answers = run(main)

    assert [None, None, ValueError, None, None] == kinds(answers)
    assert [0, 1, 3, 4] == written


def test_a_server_that_goes_away_while_items_are_written_alone_is_waited_for() -> None:
    """The way out for bad items answers each by itself, so what was written before is not written again."""
    server = Server(ValueError("odd"), None, UnavailableError("down"))

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, 1, 2)

    assert [None] * 3 == run(main)
    assert [[0, 1, 2], [0], [1], [2], [1]] == server.batches


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not at each repetition; a later outage is another one."""
    away = UnavailableError("no space")
    server = Server(away, away, away, None, {1: away}, None)

    async def main() -> None:
        group = commit(server)
        await submit(group, 0)
        await submit(group, 1, 2)

    run(main)
    assert ["numbers cannot be written: no space; trying again"] * 2 == caplog.messages


@pytest.mark.parametrize("answer", [[], [None], [None] * 3, None, 5, iter([None, None])])
def test_a_wrong_count_of_answers_is_no_answer(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows which answer is whose: the items are repeated, the fault is logged; nobody waits for ever."""
    answers = [answer]

    async def write(batch: Sequence[int]) -> Any:
        return answers.pop() if answers else [None] * len(batch)

    async def main() -> list[Exception | None]:
        return await submit(commit(write), 0, 1)

    assert [None, None] == run(main)
    assert "answers for 2 items: a fault of the component" in caplog.text


def test_a_component_that_never_counts_right_is_an_unknown_in_the_end() -> None:
    """The caller is told that the item may be queued, and why."""

    async def write(batch: Sequence[int]) -> PerItem:
        return []

    async def main() -> list[Exception | None]:
        return await submit(commit(write), 0, timeout_s=2)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: the component lost count of its answers" == str(answers[0])


def test_a_component_that_cancels_itself_is_no_stop() -> None:
    """A connection that cancels its own futures when it breaks: the write is repeated."""
    server = Server(asyncio.CancelledError())

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, 1)

    assert [None, None] == run(main)
    assert [[0, 1], [0, 1]] == server.batches
