"""Signals that ask a worker to stop: one that is said twice, a second one, and one that comes too early."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.place import Place
    from faults.scene import Scene
    from qtasks import QueueTasks

PROCESSES = pytest.mark.parametrize("processes", [None, 2], ids=["worker", "supervised"])
SOON_S = 1.0  # "a second signal is immediate"; asserted at three times that
ECHO_S = 1.1  # the same signal within a second of the first is taken for its echo
TASKS = 4
pytestmark = EVERYWHERE


def _begin(client: QueueTasks, scene: Scene, name: str) -> list[Any]:
    """Add tasks that wait for the file `go`, and wait until all of them run."""
    tasks = [client.add_task(name, str(number), str(scene.folder / "go")) for number in range(TASKS)]
    eventually_sync(lambda: TASKS == len(scene.ledger.counts("start")), PATIENCE_S, "all run")
    return tasks


@PROCESSES
@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs timeout of GNU coreutils")
def test_a_signal_that_is_said_twice_is_one(client: QueueTasks, scene: Scene, processes: int | None) -> None:
    """Under `timeout`, which signals its child and then its group: running tasks finish, nothing runs again."""
    worker = scene.worker("a", processes=processes, start=False)
    worker.command = ["timeout", "600", *worker.command]
    worker.start()
    tasks = _begin(client, scene, "wait_in_thread")
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping: [1-4] tasks are running")
    (scene.folder / "go").touch()
    assert 0 == worker.wait(PATIENCE_S)

    assert ["success"] * TASKS == [task.refresh().status for task in tasks]
    assert {1} == set(scene.ledger.counts("start").values())


@PROCESSES
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=["other", "same"])
def test_a_second_signal_is_immediate(
    client: QueueTasks, scene: Scene, place: Place, processes: int | None, second: signal.Signals
) -> None:
    """Another signal at once, the same one when it cannot be an echo any more; what was held runs elsewhere, soon."""
    worker = scene.worker("a", processes=processes)
    tasks = _begin(client, scene, "wait_in_thread")
    other = scene.worker("other")
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping: [1-4] tasks are running")
    if second == signal.SIGTERM:
        time.sleep(ECHO_S)
    asked_at = time.monotonic()
    worker.send_signal(second)
    worker.wait(PATIENCE_S)
    ended_at = time.monotonic()
    eventually_sync(lambda: {2} == set(scene.ledger.counts("start").values()), PATIENCE_S, "all run elsewhere")
    recovery_s = time.monotonic() - ended_at
    print(f"ended after {ended_at - asked_at:.2f} s, all run again after {recovery_s:.2f} s")
    (scene.folder / "go").touch()

    assert (1 if processes else 128 + second) == worker.exit_code
    assert ended_at - asked_at <= 3 * SOON_S
    assert recovery_s <= 3 * place.recovery_s
    assert {other.pid} == {task.result(PATIENCE_S) for task in tasks}


@PROCESSES
def test_a_signal_that_comes_too_early_is_a_clean_end(client: QueueTasks, scene: Scene, processes: int | None) -> None:
    """While the app is still being loaded: exit code 0, no task was taken."""
    task = client.add_task("work", "a")
    worker = scene.worker("a", "faults.slow", processes=processes, start=False)
    worker.start(timeout_s=None)
    eventually_sync((scene.folder / "loading").exists, PATIENCE_S, "the app is loaded")
    assert 0 == worker.stop()

    assert "new" == task.refresh().status
    assert "Traceback" not in worker.log


def test_a_signal_to_all_while_workers_start_is_a_clean_end(client: QueueTasks, scene: Scene) -> None:
    """The supervisor is there, its workers are still loading, and all of them are signalled, as by systemd."""
    (scene.folder / "go").touch()
    supervisor = scene.worker("a", "faults.slow", processes=2, start=False)
    supervisor.start(timeout_s=None)
    supervisor.wait_log("worker a-2-1 is process")
    (scene.folder / "go").unlink()
    (scene.folder / "loading").unlink()
    eventually_sync((scene.folder / "loading").exists, PATIENCE_S, "the workers are loaded")
    os.killpg(supervisor.pid, signal.SIGTERM)
    assert 0 == supervisor.wait(PATIENCE_S)
    assert "Traceback" not in supervisor.log
