"""A real worker whose writes the system refuses, as it does when a disk or a quota is full."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks import QueueTasks
from qtasks_testing.ledger import Ledger
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qtasks_testing.processes import WorkerProcess

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux: limits of another process")

NO_LIMIT = resource.RLIM_INFINITY
REFUSED = "disk I/O error"
APP = """
import os, resource, time
from pathlib import Path
from qtasks import QueueTasks
from qtasks_core.worker import worker
from qtasks_testing.ledger import Ledger

worker._LAST_FLUSH_S = 0.5
if "MOST_BYTES" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["MOST_BYTES"]), resource.RLIM_INFINITY))
app = QueueTasks("damage", "sqlite:///damage.db")
ledger = Ledger("ledger")

@app.task
def work(number: int, wait: bool) -> int:
    ledger.record(number)
    while wait and not Path("go").exists():
        time.sleep(0.005)
    return number
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QueueTasks]:
    """Return a client without the tasks' code; the worker has it in `full.py`."""
    (tmp_path / "full.py").write_text(APP)
    with QueueTasks("damage", f"sqlite:///{tmp_path}/damage.db") as app:
        yield app


def _add(client: QueueTasks, numbers: range, *, wait: bool = False) -> list[Any]:
    return [client.add_task("work", number, wait) for number in numbers]


def _limit(worker: WorkerProcess, most_bytes: int) -> None:
    """Set how large a file may become that the worker writes to."""
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most_bytes, NO_LIMIT))


def _fill(worker: WorkerProcess) -> None:
    """Let nothing be appended to the log of the database; what the worker says goes into a shorter file."""
    _limit(worker, (worker.cwd / "damage.db-wal").stat().st_size)


def test_nothing_is_lost_while_a_worker_cannot_write(
    client: QueueTasks, tmp_path: Path, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """Results are kept and claims repeated until there is space; each acknowledged task has run exactly once."""
    worker = worker_process("full", concurrency=4)
    before = _add(client, range(20))
    assert list(range(20)) == [task.result(timeout=30) for task in before]
    running = _add(client, range(20, 24), wait=True)
    eventually_sync(lambda: 24 == len(ledger.counts()), 30, "all slots taken")
    _fill(worker)
    (tmp_path / "go").touch()
    worker.wait_log(rf"outcomes cannot be written: .*damage\.db': {REFUSED}; trying again")
    waiting = _add(client, range(24, 44))
    time.sleep(0.3)  # some more tries
    assert ["process"] * 4 + ["new"] * 20 == [task.refresh().status for task in running + waiting]
    _limit(worker, NO_LIMIT)

    assert list(range(20, 44)) == [task.result(timeout=30) for task in running + waiting]
    assert dict.fromkeys(map(str, range(44)), 1) == dict(ledger.counts())
    assert 0 == worker.stop()


def test_a_worker_that_cannot_take_tasks_says_so_and_goes_on_later(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess]
) -> None:
    """With its slots free: the log has the file and the reason, and the tasks run when there is space."""
    worker = worker_process("full")
    assert [0] == [task.result(timeout=30) for task in _add(client, range(1))]
    _fill(worker)
    waiting = _add(client, range(10))
    worker.wait_log(rf"the broker is away: '.*damage\.db': {REFUSED}; trying again")
    _limit(worker, NO_LIMIT)

    assert list(range(10)) == [task.result(timeout=30) for task in waiting]
    assert 0 == worker.stop()


def test_a_worker_waits_for_space_when_it_starts(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess]
) -> None:
    """A full disk is no wrong setting: the worker is not ended by it, not even when it has to make the file."""
    worker = worker_process("full", start=False, env={"MOST_BYTES": "8192"})
    worker.start(timeout_s=None)
    worker.wait_log(rf"the \w+ is away: '.*damage\.db': {REFUSED}; trying again")
    _limit(worker, NO_LIMIT)
    worker.wait_ready()

    assert [0] == [task.result(timeout=30) for task in _add(client, range(1))]
    assert 0 == worker.stop()


def test_a_stop_without_space_ends_in_time_and_says_what_is_lost(
    client: QueueTasks, tmp_path: Path, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """Exit code 1: a result could not be written, so its task runs again on the next worker, and none is missing."""
    worker = worker_process("full", concurrency=2)
    tasks = _add(client, range(2), wait=True)
    eventually_sync(lambda: 2 == len(ledger.counts()), 30, "both running")
    _fill(worker)
    (tmp_path / "go").touch()
    worker.wait_log("outcomes cannot be written")

    assert 1 == worker.stop(timeout_s=30)
    assert "2 outcomes could not be written: their tasks will run again" in worker.log
    worker_process("full")
    assert [0, 1] == [task.result(timeout=30) for task in tasks]
    assert {"0": 2, "1": 2} == dict(ledger.counts())
