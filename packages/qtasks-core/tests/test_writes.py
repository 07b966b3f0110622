"""The two writes of a task's life where broker and storage share no server: their order, and whose word counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qtasks_core.contract import Ack, Delivery, Envelope, Outcome, PerItem, TaskRecord
from qtasks_core.errors import AlreadyFinal, FencedError, RefusedError
from qtasks_core.naming import new_uuid
from qtasks_core.writes import finish_writer


class Server:
    """Broker or storage: notes its calls, and answers each item as told."""

    def __init__(self, name: str, calls: list[str], answers: Sequence[Exception | None]) -> None:
        self.name = name
        self.calls = calls
        self.answers = list(answers)

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return self._answer("finish", batch)

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return self._answer("settle", batch)

    def _answer(self, call: str, batch: Sequence[Any]) -> PerItem:
        self.calls.append(f"{call} {len(batch)}")
        return [self.answers.pop(0) for _ in batch]


def _outcome() -> Outcome:
    uuid = new_uuid()
    record = TaskRecord(uuid=uuid, task_name="job", queue="q", status="success")
    return Outcome(Delivery(Envelope(uuid, "q", b""), token=None), Ack(), record)


FINAL, FENCED, REFUSED = AlreadyFinal("kept"), FencedError("gone"), RefusedError("too large")


@pytest.mark.parametrize(
    ("finished", "settled", "expected", "calls"),
    [
        ([None, None], [None, None], [None, None], ["finish 2", "settle 2"]),
        ([FINAL, None], [None, None], [FINAL, None], ["finish 2", "settle 2"]),
        ([FINAL, None], [FENCED, FENCED], [FENCED, FENCED], ["finish 2", "settle 2"]),
        ([REFUSED, None], [None], [REFUSED, None], ["finish 2", "settle 1"]),
        ([REFUSED, REFUSED], [], [REFUSED, REFUSED], ["finish 2"]),
    ],
)
async def test_an_earlier_final_record_settles_the_delivery_and_is_told(
    finished: list[Exception | None],
    settled: list[Exception | None],
    expected: list[Exception | None],
    calls: list[str],
) -> None:
    """The record goes first; where another one stays, the delivery is settled, and the answer tells of that record."""
    made: list[str] = []
    broker: Any = Server("broker", made, settled)
    storage: Any = Server("storage", made, finished)
    answers = await finish_writer(broker, storage)([_outcome(), _outcome()])

    assert expected == list(answers)
    assert calls == made
