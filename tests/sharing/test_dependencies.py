"""Dependencies in real processes: closed at SIGTERM, and those of process tasks inside of their processes."""

import signal
from collections.abc import Callable

import pytest

from qtasks.asyncio import QueueTasks
from qtasks_testing.processes import WorkerProcess
from sharing.app import Counter

pytestmark = pytest.mark.timeout(120)


async def test_a_worker_that_is_told_to_stop_closes_what_is_open(
    start: Callable[..., WorkerProcess], client: QueueTasks, notes: Callable[[], list[str]]
) -> None:
    """One connection for all its tasks, a session for each."""
    worker = start()
    for _ in range(3):
        assert [worker.pid, worker.pid] == await (await client.add_task("use")).result()
    worker.send_signal(signal.SIGTERM)
    assert 0 == worker.wait()

    told = [line.rpartition(" ")[0] for line in notes()]
    assert ["open connection", *["open session", "close session"] * 3, "close connection"] == told
    assert {str(worker.pid)} == {line.split()[-1] for line in notes()}


async def test_those_of_process_tasks_live_in_their_processes(
    start: Callable[..., WorkerProcess], client: QueueTasks, notes: Callable[[], list[str]]
) -> None:
    """A wider scope lives as long as its process, which is told to end with the worker; a state works there too."""
    worker = start(concurrency=1)
    names = ("use_in_process", "use_in_process_def") * 2
    found = [await (await client.add_task(name)).result() for name in names]
    assert 0 == worker.stop()

    processes = {pid for pids in found for pid in pids}
    assert worker.pid not in processes
    assert all([pid, pid, pid] == [pid, *rest] for pid, *rest in found)
    lines = notes()
    for process in processes:
        own = [line.rpartition(" ")[0] for line in lines if line.endswith(f" {process}")]
        runs = [pids for pids in found if pids[0] == process]
        assert ["open connection", *["open session", "close session"] * len(runs), "close connection"] == own
    assert len(processes) == len([line for line in lines if line.startswith("close connection")])
    assert 4 == await Counter.of(client).get("count")
