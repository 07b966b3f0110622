"""Real worker processes on sqlite that are killed, stopped and kept busy: nothing is lost, and repeats are bounded."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from qtasks import QueueTasks
from qtasks_testing.ledger import Ledger
from qtasks_testing.polling import eventually_sync
from qtasks_testing.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONCURRENCY = 8
KILLS = 6
TASKS = 4000
RECOVERY_S = 2.0  # semantics.md; asserted at three times that
APP = """
import asyncio
from qtasks.asyncio import QueueTasks
from qtasks_testing.ledger import Ledger

app = QueueTasks("chaos", broker_url="sqlite:///chaos.db")
ledger = Ledger("ledger.txt")

@app.task
async def work(number: int, seconds: float) -> int:
    ledger.record(number, "start")
    await asyncio.sleep(seconds)
    ledger.record(number, "end")
    return number
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QueueTasks]:
    """Return a client without the tasks' code; the workers have it in `chaos.py`."""
    (tmp_path / "chaos.py").write_text(APP)
    with QueueTasks("chaos", broker_url=f"sqlite:///{tmp_path}/chaos.db") as app:
        yield app


def _worker(folder: Path, name: str, **options: Any) -> WorkerProcess:
    return WorkerProcess("chaos", folder, log_path=folder / f"{name}.log", concurrency=CONCURRENCY, **options)


def _add(client: QueueTasks, count: int, seconds: float) -> list[Any]:
    work = client.task(name="work")(_signature)
    return work.add_many([(number, seconds) for number in range(count)])


def _signature(number: int, seconds: float) -> int:
    """Stand for the task's code, which only the workers have."""
    raise NotImplementedError


def _has_ended(ledger: Ledger, count: int) -> bool:
    return len(ledger.counts("end")) >= count


def _have_ended(ledger: Ledger, keys: set[str]) -> bool:
    return keys <= ledger.counts("end").keys()


@pytest.mark.timeout(180)
def test_kill_storm_loses_nothing(client: QueueTasks, tmp_path: Path, record_property: Any) -> None:
    """Six kill -9, two workers, 4,000 tasks: all succeed, repeats ≤ in flight, what was held goes on in time."""
    ledger = Ledger(tmp_path / "ledger.txt")
    tasks = _add(client, TASKS, 0.02)
    recoveries = []
    with _worker(tmp_path, "a") as a, _worker(tmp_path, "b") as b:
        for kill in range(KILLS):
            progress = TASKS * (kill + 1) // (KILLS + 2)
            eventually_sync(partial(_has_ended, ledger, progress), 60, "progress")
            victim = random.choice((a, b))
            victim.kill()
            victim.wait()
            held = ledger.unfinished() & {entry.key for entry in ledger.entries("start") if entry.pid == victim.pid}
            killed_at = time.monotonic()
            eventually_sync(partial(_have_ended, ledger, held), 30, "the killed worker's tasks on the other")
            recoveries.append(time.monotonic() - killed_at)
            victim.start()
        values = [task.result(timeout=60) for task in tasks]
        exits = [a.stop(), b.stop()]

    repeats = sum(count - 1 for count in ledger.counts("start").values())
    record_property("recovery_s", max(recoveries))
    print(f"slowest recovery {max(recoveries):.2f} s, repeats {repeats} of at most {KILLS * CONCURRENCY}")
    assert list(range(TASKS)) == values
    assert [0, 0] == exits
    assert repeats <= KILLS * CONCURRENCY
    assert max(recoveries) <= 3 * RECOVERY_S


def test_sigterm_in_mid_load_loses_and_repeats_nothing(client: QueueTasks, tmp_path: Path) -> None:
    """A stopped worker ends with 0; each task has run exactly once when the next worker has done the rest."""
    ledger = Ledger(tmp_path / "ledger.txt")
    tasks = _add(client, 400, 0.02)
    with _worker(tmp_path, "a") as a:
        eventually_sync(lambda: len(ledger.counts("end")) >= 100, 30, "a quarter of the work")
        assert 0 == a.stop()
    done_by_a = len(ledger.counts("end"))
    with _worker(tmp_path, "b"):
        assert list(range(400)) == [task.result(timeout=30) for task in tasks]

    assert 100 <= done_by_a < 400
    assert {1} == set(ledger.counts("start").values())


def test_a_task_longer_than_the_lease_runs_once(client: QueueTasks, tmp_path: Path) -> None:
    """A task of 15 s beside a lease_ttl of 5 s is not taken over by the other worker."""
    ledger = Ledger(tmp_path / "ledger.txt")
    tasks = _add(client, 1, 15)
    with _worker(tmp_path, "a"), _worker(tmp_path, "b"):
        assert 0 == tasks[0].result(timeout=40)

    assert {"0": 1} == ledger.counts("start")


def test_a_supervisor_replaces_a_killed_child_and_its_tasks_go_on(client: QueueTasks, tmp_path: Path) -> None:
    """With --processes the dead child's deliveries are taken away at once; nothing is lost."""
    ledger = Ledger(tmp_path / "ledger.txt")
    tasks = _add(client, 300, 0.02)
    with _worker(tmp_path, "a", processes=2) as supervisor:
        eventually_sync(lambda: len(ledger.counts("end")) >= 50, 30, "some work")
        os.kill(ledger.entries("end")[-1].pid, signal.SIGKILL)
        assert list(range(300)) == [task.result(timeout=30) for task in tasks]

        def replaced() -> bool:
            [late.result(timeout=30) for late in _add(client, 20, 0.02)]
            return len({entry.pid for entry in ledger.entries("start")}) >= 3

        eventually_sync(replaced, 30, "a replacement that takes tasks")
        assert 0 == supervisor.stop()
