"""Status process: written for what runs longer than a moment, never for quick tasks, and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.contract import Delivery, Envelope, TaskRecord
from qtasks_core.errors import SendUnknownError, UnavailableError
from qtasks_core.naming import new_uuid
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.worker import marker as marker_module
from qtasks_core.worker.marker import Marker
from qtasks_core.worker.outcomes import OutcomeMaker
from qtasks_core.worker.run import Run

AFTER_S = 0.02


class Storage:
    """Keeps what it is told; fails as told."""

    def __init__(self) -> None:
        self.marked: list[TaskRecord] = []
        self.calls = 0
        self.errors: list[Exception] = []
        self.holds = asyncio.Event()
        self.holds.set()

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        self.calls += 1
        await self.holds.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.marked += batch
        return [None] * len(batch)


class Worker:
    """Holds runs, as a worker does, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs: set[Run] = set()
        self.storage = Storage()
        storage: Any = self.storage
        outcomes = OutcomeMaker("worker-1", QueueConfig(), DEFAULT_SERIALIZER)
        self.marker = Marker(storage, self.runs, outcomes, lambda: self.now)

    def start(self, envelope: Envelope | None = None, *, is_waiting: bool = False) -> Run:
        run = Run(Delivery(envelope or Envelope(new_uuid(), "q", b"body"), token=None), self.now)
        run.task_name = "job"
        if not is_waiting:
            run.task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
        self.runs.add(run)
        self.marker.note()
        return run

    def end(self, run: Run) -> None:
        self.runs.discard(run)
        if run.task is not None:
            run.task.cancel()


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    """Give a worker whose marks are due soon."""
    monkeypatch.setattr(marker_module, "_AFTER_S", AFTER_S)
    one = Worker()
    yield one
    one.marker.stop()
    for run in list(one.runs):
        one.end(run)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def rounds(count: int = 3) -> None:
    """Let some marks become due."""
    await asyncio.sleep(AFTER_S * count)


async def test_a_task_that_goes_on_is_marked_once(worker: Worker) -> None:
    """With the time at which it started; later rounds leave it alone."""
    run = worker.start()
    worker.now += 1
    await until(lambda: run.is_marked)
    await rounds()
    (record,) = worker.storage.marked
    assert run.delivery.envelope is not None

    assert (run.delivery.envelope.uuid, "job", "process") == (record.uuid, record.task_name, record.status)
    assert (1000.0, "worker-1", None) == (record.started_at, record.worker, record.finished_at)
    assert 1 == worker.storage.calls


async def test_quick_tasks_are_never_marked(worker: Worker) -> None:
    """Ten thousand quick tasks cost no write."""
    for _ in range(100):
        worker.end(worker.start())
    worker.now += 1
    await rounds()

    assert 0 == worker.storage.calls


async def test_a_task_that_has_just_started_waits_for_its_own_time(worker: Worker) -> None:
    """A round that finds an old and a young one marks the old one; the young one comes later."""
    old = worker.start()
    worker.now += 1
    young = worker.start()
    await until(lambda: old.is_marked)
    assert not young.is_marked
    worker.now += 1
    await until(lambda: young.is_marked)

    assert 2 == len(worker.storage.marked)


async def test_old_tasks_are_marked_together(worker: Worker) -> None:
    """One write for all."""
    runs = [worker.start() for _ in range(50)]
    worker.now += 1
    await until(lambda: all(run.is_marked for run in runs))

    assert 1 == worker.storage.calls
    assert 50 == len(worker.storage.marked)


async def test_what_waits_to_be_run_is_not_marked(worker: Worker) -> None:
    """A suspect that waits for its turn does not run yet."""
    run = worker.start(is_waiting=True)
    worker.now += 1
    await rounds()

    assert not run.is_marked
    assert 0 == worker.storage.calls


@pytest.mark.parametrize("error", [UnavailableError("down"), SendUnknownError("cut")])
async def test_a_storage_that_is_away_is_asked_again(worker: Worker, error: Exception) -> None:
    """In the next round, without a word to anybody."""
    worker.storage.errors = [error, error]
    run = worker.start()
    worker.now += 1
    await until(lambda: run.is_marked)

    assert 3 == worker.storage.calls
    assert 1 == len(worker.storage.marked)


async def test_a_storage_with_a_bug_is_told_once(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """The tasks run without their marks, and the log is not filled."""
    worker.storage.errors = [TypeError("a bug")] * 100
    run = worker.start()
    worker.now += 1
    await until(lambda: run.is_marked)
    await rounds()

    assert 1 == worker.storage.calls
    assert [("running tasks could not be marked", logging.ERROR)] == [
        (one.getMessage(), one.levelno) for one in caplog.records if one.name == "qtasks.worker"
    ]


async def test_a_slow_storage_gets_one_write_at_a_time(worker: Worker) -> None:
    """Rounds that come due meanwhile wait for it."""
    worker.storage.holds.clear()
    first = worker.start()
    worker.now += 1
    await until(lambda: 1 == worker.storage.calls)
    second = worker.start()
    worker.now += 1
    await rounds()
    assert 1 == worker.storage.calls
    worker.storage.holds.set()
    await until(lambda: first.is_marked and second.is_marked)

    assert 2 == len({record.uuid for record in worker.storage.marked})


async def test_an_idle_worker_has_no_timer(worker: Worker) -> None:
    """When everything is marked or gone, nothing wakes it up."""
    run = worker.start()
    worker.now += 1
    await until(lambda: run.is_marked)
    await rounds()

    assert worker.marker._timer is None
    worker.end(run)
    worker.marker.note()
    await rounds()
    assert worker.marker._timer is None


async def test_stop_marks_no_more(worker: Worker) -> None:
    """Neither what is due nor what is being written."""
    worker.start()
    worker.now += 1
    worker.marker.stop()
    await rounds()
    assert 0 == worker.storage.calls

    other = Worker()
    other.storage.holds.clear()
    run = other.start()
    other.now += 1
    await until(lambda: 1 == other.storage.calls)
    other.marker.stop()
    other.storage.holds.set()
    await rounds()

    assert [] == other.storage.marked
    other.end(run)
