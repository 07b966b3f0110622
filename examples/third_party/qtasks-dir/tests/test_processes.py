"""Real processes that share a directory: whatever dies, nothing is lost, and nothing that was finished runs again."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from qtasks import QueueConfig, QueueTasks
from qtasks_testing import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qtasks_testing import Ledger, WorkerProcess

pytestmark = pytest.mark.timeout(180)

PATIENCE_S = 90.0
LEASE_TTL_S = 2.0
TASKS = 60
APP = f"""
import time
from pathlib import Path

from qtasks import QueueConfig, QueueTasks
from qtasks_testing import Ledger

FOLDER = Path(__file__).parent
app = QueueTasks("shop", broker_url=f"dir:///{{FOLDER}}/data", config=QueueConfig(lease_ttl={LEASE_TTL_S}))


@app.task
def work(key: str, seconds: float) -> str:
    ledger = Ledger(FOLDER / "ledger")
    ledger.record(key, "start")
    time.sleep(seconds)
    ledger.record(key, "end")
    return key


@app.task
async def block(key: str, seconds: float) -> str:
    return work(key, seconds)
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QueueTasks]:
    """Return the app in this process; the workers have another one of the same name."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    app = QueueTasks("shop", broker_url=f"dir:///{tmp_path}/data", config=QueueConfig(lease_ttl=LEASE_TTL_S))
    yield app
    app.stop()


def test_a_killed_worker_loses_nothing(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """Of two workers one is killed (-9) in the middle: each task ends, and no result was written twice."""
    tasks = [client.add_task("work", str(number), 0.2) for number in range(TASKS)]
    victim, survivor = (worker_process("shop:app", concurrency=4, name=name) for name in ("victim", "survivor"))
    mine = str(victim.pid)
    eventually_sync(lambda: sum(str(run.pid) == mine for run in ledger.entries("end")) >= 4, PATIENCE_S)
    victim.kill()

    assert [task.result(PATIENCE_S) for task in tasks] == [str(number) for number in range(TASKS)]
    assert ledger.missing(range(TASKS), "end") == set()
    assert set(ledger.duplicates("start")) <= {run.key for run in ledger.entries("start") if str(run.pid) == mine}
    assert len(ledger.duplicates("start")) <= 2 * 4  # what it ran, and what it had finished and not yet written
    assert survivor.stop() == 0


def test_all_workers_die_and_others_come(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """Nobody is left to take over: who comes next does, after a lease."""
    tasks = [client.add_task("work", str(number), 0.5) for number in range(4)]
    first = worker_process("shop:app", concurrency=4)
    eventually_sync(lambda: len(ledger.entries("start")) == 4, PATIENCE_S)
    first.kill()

    worker_process("shop:app", concurrency=4)

    assert [task.result(PATIENCE_S) for task in tasks] == ["0", "1", "2", "3"]
    assert [task.refresh().attempt for task in tasks] == [1] * 4


def test_a_paused_worker_comes_back_fenced(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """Longer silent than its lease, it has lost its task to another; one outcome counts, and it works on."""
    task = client.add_task("work", "long", 1.0)
    paused = worker_process("shop:app", concurrency=1)
    eventually_sync(lambda: len(ledger.entries("start")) == 1, PATIENCE_S)
    paused.pause()
    other = worker_process("shop:app", concurrency=1)
    assert task.result(PATIENCE_S) == "long"
    other.stop()
    paused.resume()

    assert client.add_task("work", "next", 0.0).result(PATIENCE_S) == "next"
    assert ledger.counts("start") == {"long": 2, "next": 1}
    assert paused.stop() == 0


def test_a_task_that_blocks_its_loop_is_not_taken_away(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """The heart beats in a thread of its own: three leases long nobody else gets it."""
    task = client.add_task("block", "slow", 3 * LEASE_TTL_S)
    for _ in range(2):
        worker_process("shop:app", concurrency=1)

    assert task.result(PATIENCE_S) == "slow"
    assert ledger.counts("start") == {"slow": 1}


def test_a_stopped_worker_gives_back_what_it_did_not_run(
    client: QueueTasks, worker_process: Callable[..., WorkerProcess], ledger: Ledger
) -> None:
    """SIGTERM: what runs ends, the rest waits for the next worker, and nothing runs twice."""
    tasks = [client.add_task("work", str(number), 0.3) for number in range(12)]
    first = worker_process("shop:app", concurrency=2)
    eventually_sync(lambda: len(ledger.entries("end")) >= 2, PATIENCE_S)
    assert first.stop() == 0
    assert ledger.unfinished() == set()

    worker_process("shop:app", concurrency=4)

    assert [task.result(PATIENCE_S) for task in tasks] == [str(number) for number in range(12)]
    assert ledger.duplicates("start") == {}


def test_a_forked_child_harms_nothing(client: QueueTasks, ledger: Ledger, tmp_path: Path) -> None:
    """A child of a process that has a worker adds tasks of its own; its parent's leases stay."""

    @client.task(name="local")
    def local(key: str) -> str:
        time.sleep(1.5 * LEASE_TTL_S if key == "parent" else 0.0)
        ledger.record(key)
        return key

    with client.worker():
        mine = local.add_task("parent")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                added = QueueTasks("shop", broker_url=f"dir:///{tmp_path}/data").add_task("local", "child")
                code = 0 if added.result(PATIENCE_S) == "child" else 2
            finally:
                os._exit(code)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert mine.result(PATIENCE_S) == "parent"
    assert ledger.counts() == {"parent": 1, "child": 1}
