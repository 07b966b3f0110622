"""How outcomes are written: each slot is freed once, and an outcome that is refused gets a smaller successor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from qtasks_core.contract import Ack, Dead, Delivery, Envelope, Outcome, PerItem, Release, TaskRecord
from qtasks_core.errors import AlreadyFinal, FencedError, RefusedError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import BufferLimits
from qtasks_core.naming import new_uuid
from qtasks_core.wire import RemoteError, unpack_error
from qtasks_core.worker.run import Run
from qtasks_core.worker.settler import Settler

LIMITS = BufferLimits(512, 1 << 20, 10_000, 32 << 20, 30.0)


class Server:
    """Answers each outcome with the next of its script; then all is well."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.written: list[Outcome] = []
        self.batches: list[int] = []
        self.holds = asyncio.Event()
        self.holds.set()

    async def write(self, batch: Sequence[Outcome]) -> PerItem:
        self.batches.append(len(batch))
        await self.holds.wait()
        answers = []
        for outcome in batch:
            answers.append(self.script.pop(0) if self.script else None)
            if answers[-1] is None:
                self.written.append(outcome)
        return answers


class Desk:
    """A settler, its server, and the runs whose slots are free again."""

    def __init__(self, *script: Exception | None, **limits: Any) -> None:
        self.server = Server(*script)
        self.freed: list[Run] = []
        self.settler = Settler(self.server.write, LIMITS._replace(**limits), self.freed.append)

    def put(self, *outcomes: Outcome) -> list[Run]:
        runs = []
        for outcome in outcomes:
            run = Run(outcome.delivery, 0.0)
            run.task_name = "job"
            self.settler.put(run, outcome)
            runs.append(run)
        return runs

    async def settle(self, *outcomes: Outcome) -> list[Run]:
        runs = self.put(*outcomes)
        await self.settler.drain(10)
        return runs


def success(result: bytes | None = b"result") -> Outcome:
    uuid = new_uuid()
    record = TaskRecord(uuid=uuid, task_name="job", queue="q", status="success", body=b"body", result=result)
    return Outcome(Delivery(Envelope(uuid, "q", b"body"), token=None), Ack(), record)


def bare(verdict: Any) -> Outcome:
    return Outcome(Delivery(Envelope(new_uuid(), "q", b""), token=None), verdict)


async def test_a_slot_is_free_when_the_outcome_is_written() -> None:
    """Not before: what a worker holds is never more than its slots."""
    desk = Desk()
    desk.server.holds.clear()
    runs = desk.put(success(), success())
    for _ in range(5):
        await asyncio.sleep(0)
    assert [] == desk.freed
    desk.server.holds.set()
    await desk.settler.drain(10)

    assert runs == desk.freed
    assert 0 == desk.settler.unwritten


async def test_outcomes_that_end_together_are_one_write() -> None:
    """In the order in which they ended."""
    desk = Desk()
    outcomes = [success() for _ in range(100)]
    await desk.settle(*outcomes)

    assert [100] == desk.server.batches
    assert outcomes == desk.server.written


async def test_large_results_are_split_into_writes() -> None:
    """flush_bytes counts body and result."""
    desk = Desk(flush_bytes=1000)
    await desk.settle(*[success(b"x" * 400) for _ in range(4)])

    assert [1, 1, 1, 1] == desk.server.batches


async def test_a_server_that_is_away_is_waited_for() -> None:
    """The slot is held, nothing is given up, nothing is written twice."""
    desk = Desk(UnavailableError("down"), SendUnknownError("cut"), None)
    outcome = success()
    runs = await desk.settle(outcome)

    assert [1, 1, 1] == desk.server.batches
    assert [outcome] == desk.server.written
    assert runs == desk.freed
    assert 0 == desk.settler.unwritten


@pytest.mark.parametrize("answer", [AlreadyFinal("kept"), FencedError("gone")])
async def test_what_somebody_else_has_settled_is_settled(answer: Exception) -> None:
    """The first final record stays: that is no fault of this worker, and its slot is free."""
    desk = Desk(answer)
    runs = await desk.settle(success())

    assert runs == desk.freed
    assert [1] == desk.server.batches
    assert 0 == desk.settler.unwritten


async def test_a_task_that_was_taken_over_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """With its name and id."""
    desk = Desk(FencedError("gone"))
    (run,) = await desk.settle(success())

    assert run.delivery.envelope is not None
    assert f"task job {run.delivery.envelope.uuid} was taken over by another worker" in caplog.text


async def test_a_result_that_is_refused_makes_its_task_an_error() -> None:
    """Who waits for it is told; the verdict stays."""
    desk = Desk(RefusedError("too large for this server"))
    outcome = success()
    runs = await desk.settle(outcome)
    (written,) = desk.server.written
    record = written.record
    assert record is not None

    assert (outcome.delivery, Ack()) == (written.delivery, written.verdict)
    assert ("error", None) == (record.status, record.result)
    assert RemoteError("SendRefusedError", "too large for this server", "") == unpack_error(record.error or b"")
    assert runs == desk.freed


async def test_a_record_that_is_refused_too_makes_a_dead_letter() -> None:
    """Without a record; the reason says why."""
    desk = Desk(RefusedError("too large"), RefusedError("still too large"))
    outcome = success()
    runs = await desk.settle(outcome)

    assert [Outcome(outcome.delivery, Dead("its outcome was refused: still too large"))] == desk.server.written
    assert runs == desk.freed


@pytest.mark.parametrize("verdict", [Ack(), Release(1.0)])
async def test_a_bare_verdict_that_is_refused_makes_a_dead_letter(verdict: Any) -> None:
    """A task is never lost without a trace."""
    desk = Desk(RefusedError("no"))
    await desk.settle(bare(verdict))

    assert [Dead("its outcome was refused: no")] == [one.verdict for one in desk.server.written]


async def test_what_cannot_even_be_buried_is_told_and_frees_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on with other tasks."""
    desk = Desk(*[RefusedError("no")] * 3)
    runs = await desk.settle(success())

    assert [] == desk.server.written
    assert runs == desk.freed
    assert 1 == desk.settler.unwritten
    assert logging.CRITICAL == caplog.records[-1].levelno
    assert "can neither be settled nor buried: no" in caplog.text


async def test_an_outcome_of_something_unreadable_is_settled_like_any_other() -> None:
    """It has no envelope, so no id to name."""
    desk = Desk(RefusedError("no"))
    runs = await desk.settle(Outcome(Delivery(None, token=None, raw=b"junk"), Dead("undecodable")))

    assert runs == desk.freed
    assert 1 == desk.settler.unwritten


async def test_a_component_that_fails_on_one_outcome_costs_no_other() -> None:
    """A bug of a third-party storage: its batch mates are written, the one becomes an error."""
    desk = Desk()
    bad, good = success(b"bad"), [success() for _ in range(3)]
    write = desk.server.write

    async def fragile(batch: Sequence[Outcome]) -> PerItem:
        if any(one.record is not None and one.record.result == b"bad" for one in batch):
            raise TypeError("a bug")
        return await write(batch)

    desk.settler = Settler(fragile, LIMITS, desk.freed.append)
    await desk.settle(good[0], bad, *good[1:])

    assert good == desk.server.written[:3]
    (last,) = desk.server.written[3:]
    assert last.record is not None
    assert ("error", bad.delivery) == (last.record.status, last.delivery)
    assert 4 == len(desk.freed)


async def test_a_run_has_one_outcome() -> None:
    """What is put after it is dropped: it could only be refused, and its slot is freed once."""
    desk = Desk()
    desk.server.holds.clear()
    outcome = success()
    (run,) = desk.put(outcome)
    desk.settler.put(run, Outcome(outcome.delivery, Release()))
    desk.server.holds.set()
    assert await desk.settler.drain(10)
    desk.settler.put(run, Outcome(outcome.delivery, Release()))
    assert await desk.settler.drain(10)

    assert run.is_ending
    assert [outcome] == desk.server.written
    assert [run] == desk.freed


async def test_who_wants_to_know_is_told_of_what_was_written() -> None:
    """Of nothing that was refused, that somebody else has, or that is not the first; and frees the slot itself."""
    answers = [None, AlreadyFinal("kept"), FencedError("gone"), RefusedError("too large"), None]
    desk, told = Desk(*answers), []
    desk.settler.written = lambda run, outcome: told.append((run, outcome))
    outcomes = [success() for _ in range(4)]
    runs = await desk.settle(*outcomes)

    assert runs[1:3] == desk.freed
    assert [(runs[0], outcomes[0]), (runs[3], desk.server.written[-1])] == told
    assert "error" == getattr(told[1][1].record, "status", None)


async def test_drain_gives_up_after_its_time(caplog: pytest.LogCaptureFixture) -> None:
    """A stop is not held up by a server that stays away; the log says how much is left."""
    desk = Desk(*[UnavailableError("down")] * 1000)
    desk.put(success(), success())
    assert not await desk.settler.drain(0.05)

    assert "2 outcomes are not written after 0.05 s: the server is away" in caplog.text
    assert [] == desk.freed
    await desk.settler.close()


async def test_close_counts_what_was_not_written() -> None:
    """In flight, waiting, and what still comes: each slot is freed, each is counted once."""
    desk = Desk(flush_items=1)
    desk.server.holds.clear()
    runs = desk.put(success(), success())
    await asyncio.sleep(0.01)
    await desk.settler.close()
    runs += desk.put(success(), bare(Ack()))

    assert runs == desk.freed
    assert 4 == desk.settler.unwritten
    assert [] == desk.server.written


async def test_close_after_everything_is_written_counts_nothing() -> None:
    """A clean stop."""
    desk = Desk()
    await desk.settle(success())
    await desk.settler.close()

    assert 0 == desk.settler.unwritten
    assert 1 == len(desk.freed)
