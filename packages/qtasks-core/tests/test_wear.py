"""A worker that has done enough: `--max-tasks` and `--max-rss`, up to exit code 75."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from qtasks_core.blocking import QueueTasks
from qtasks_core.config import RunOptions
from qtasks_core.supervisor import EXIT_RESTART
from qtasks_core.worker import wear as wear_module
from qtasks_core.worker.wear import Wear, resident_mib

if TYPE_CHECKING:
    from collections.abc import Callable


def test_so_many_runs_are_enough() -> None:
    """It is told once, at the last of them, with the number."""
    told: list[str] = []
    wear = Wear(3, None, told.append)
    for number in range(1, 6):
        wear.ran()
        assert (number >= 3) == bool(told)

    assert ["3 tasks have run here (max-tasks 3)"] == told


async def test_so_much_memory_is_enough_once_a_task_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the limit, and before the first task, nothing is told; then once, and it looks no more."""
    monkeypatch.setattr(wear_module, "_EVERY_S", 0.0)
    told: list[str] = []
    used = 300.0
    looks = 0

    def resident() -> float:
        nonlocal looks
        looks += 1
        return used

    wear = Wear(None, 200, told.append, resident)
    watching = asyncio.create_task(wear.watch())
    while looks < 3:
        await asyncio.sleep(0)
    assert [] == told

    used = 200.0
    wear.ran()
    while looks < 6:
        await asyncio.sleep(0)
    assert [] == told

    used = 201.0
    await watching
    assert ["201 MiB are resident (max-rss 200)"] == told


async def test_without_a_limit_of_memory_nobody_looks() -> None:
    """With --max-tasks alone."""

    def resident() -> float:
        raise AssertionError("looked")

    await Wear(1, None, print, resident).watch()


def test_the_memory_is_that_of_this_process() -> None:
    """In MiB: a Python has some, and 64 MiB more are seen."""
    before = resident_mib()
    block = b"x" * (64 * 1024 * 1024)
    after = resident_mib()

    assert 5 < before < 4096
    assert after - before > 50
    assert block


def _run(app: QueueTasks, options: RunOptions, begin: Callable[[], object]) -> int:
    codes: list[int] = []
    worker = threading.Thread(target=lambda: codes.append(app.core.run(options)))
    begin()
    worker.start()
    worker.join(20)
    assert codes, "the worker did not end"
    return codes[0]


def test_a_worker_ends_after_its_tasks() -> None:
    """Exit code 75; what was not begun waits for the next one, which runs it."""
    app = QueueTasks("worn", "memory://")
    ran: list[int] = []

    @app.task
    async def job(number: int) -> None:
        ran.append(number)

    options = RunOptions(max_tasks=3, concurrency=1)
    code = _run(app, options, lambda: job.add_many([(number,) for number in range(8)]))
    assert (EXIT_RESTART, True) == (code, 3 <= len(ran) <= 4)

    assert EXIT_RESTART == _run(app, options, lambda: None)
    assert list(range(len(ran))) == ran
    assert 6 <= len(ran) <= 8
    app.stop()


def test_a_worker_ends_with_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 75, when a task has run; tasks in progress are finished first."""
    monkeypatch.setattr(wear_module, "_EVERY_S", 0.01)
    app = QueueTasks("worn", "memory://")
    ended = threading.Event()

    @app.task
    async def quick() -> None: ...

    @app.task
    async def slow() -> None:
        await asyncio.sleep(0.2)
        ended.set()

    def begin() -> None:
        quick.add_task()
        slow.add_task()

    assert EXIT_RESTART == _run(app, RunOptions(max_rss=1), begin)
    assert ended.is_set()
    app.stop()
