"""kill -9 of those who watch over workers: no worker is left behind, and what it held runs elsewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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
    from qtasks_testing.processes import WorkerProcess

TASKS = 6
OPTIONS: dict[str, Any] = {"processes": 2, "concurrency": 3, "arguments": ("--shutdown-timeout", "0.5")}
pytestmark = EVERYWHERE


def _begin(client: QueueTasks, scene: Scene) -> list[Any]:
    """Add tasks that nobody can stop, and wait until both workers are full of them."""
    tasks = [client.add_task("wait_in_thread", str(number), str(scene.folder / "go")) for number in range(TASKS)]
    eventually_sync(lambda: TASKS == len(scene.ledger.counts("start")), PATIENCE_S, "all run")
    assert 2 == len({entry.pid for entry in scene.ledger.entries("start")})
    return tasks


def _run_elsewhere(scene: Scene, tasks: list[Any]) -> None:
    (scene.folder / "go").touch()
    # Uncharged, where they were given back: one crash, and they would be dead.
    other = scene.worker("other", env={"QTASKS_MAX_DELIVERIES": "1"})
    assert {other.pid} == {task.result(PATIENCE_S) for task in tasks}


def _pids(supervisor: WorkerProcess) -> list[int]:
    return [int(pid) for pid in re.findall(r"worker \S+ is process (\d+)", supervisor.log)]


def _are_gone(pids: list[int]) -> bool:
    """Tell whether none of the processes runs; one that nobody has reaped yet does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", ",".join(map(str, pids))], capture_output=True, check=False)
    return all(state.startswith(b"Z") for state in found.stdout.split())


def test_a_supervisor_that_is_killed_takes_its_workers_along(client: QueueTasks, scene: Scene) -> None:
    """They notice, give back what does not end, uncharged, and end."""
    supervisor = scene.worker("a", **OPTIONS)
    tasks = _begin(client, scene)
    supervisor.kill()
    eventually_sync(lambda: _are_gone(_pids(supervisor)), PATIENCE_S, "the workers end")
    assert 2 == supervisor.log.count("stopped cleanly")
    _run_elsewhere(scene, tasks)


def test_the_parent_of_a_supervisor_that_is_killed_takes_all_along(client: QueueTasks, scene: Scene) -> None:
    """With --stop-with-parent: the supervisor stops its workers, and all end by themselves."""
    supervisor = scene.worker("a", start=False, stop_with_parent=True, **OPTIONS)
    launcher = (
        f"import subprocess\nprocess = subprocess.Popen({supervisor.command!r})\nprint(process.pid)\nprocess.wait()"
    )
    with supervisor.log_path.open("wb") as log:
        parent = subprocess.Popen(
            [sys.executable, "-u", "-c", launcher],
            cwd=scene.folder,
            env=supervisor.env,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        tasks = _begin(client, scene)
        parent.kill()
    eventually_sync(lambda: _are_gone([pid, *_pids(supervisor)]), PATIENCE_S, "all end")
    assert "the parent process is dead: stopping the workers" in supervisor.log
    assert "exit code 0" in supervisor.log.splitlines()[-1]
    _run_elsewhere(scene, tasks)


@pytest.mark.parametrize("order", [1, -1], ids=["supervisor first", "workers first"])
def test_a_whole_group_that_is_killed_is_replaced(client: QueueTasks, scene: Scene, place: Place, order: int) -> None:
    """As by the OOM killer or a container's end: what all of them held goes on in time."""
    supervisor = scene.worker("a", **OPTIONS)
    tasks = _begin(client, scene)
    other = scene.worker("other")
    killed_at = time.monotonic()
    for pid in [supervisor.pid, *_pids(supervisor)][::order]:
        os.kill(pid, signal.SIGKILL)
    eventually_sync(lambda: {2} == set(scene.ledger.counts("start").values()), PATIENCE_S, "all run elsewhere")
    recovery_s = time.monotonic() - killed_at
    print(f"all run again after {recovery_s:.2f} s")
    (scene.folder / "go").touch()

    assert recovery_s <= 3 * place.recovery_s
    assert {other.pid} == {task.result(PATIENCE_S) for task in tasks}
