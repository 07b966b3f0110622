"""Tasks that do not end when their worker is told to stop: it ends in time, and they run elsewhere, uncharged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks

SHUTDOWN_TIMEOUT_S = 1.0
GRACE_S = 5.0  # for async tasks that are cancelled to clean up, and for threads that are not the worker's to end
TASKS = 3
IMPATIENT = ("--shutdown-timeout", str(SHUTDOWN_TIMEOUT_S))
NO_CHARGE = {"QTASKS_MAX_DELIVERIES": "1"}  # one crash charged, and the task is dead instead of run again
pytestmark = EVERYWHERE


@pytest.mark.parametrize(
    ("name", "processes", "limit_s"),
    [
        ("wait_in_thread", None, SHUTDOWN_TIMEOUT_S),
        ("wait_in_thread", 2, SHUTDOWN_TIMEOUT_S),
        ("wait_for_file", None, SHUTDOWN_TIMEOUT_S),
        ("wait_deafly", None, SHUTDOWN_TIMEOUT_S + GRACE_S),
        ("wait_beside_loop", None, SHUTDOWN_TIMEOUT_S + GRACE_S),
    ],
)
def test_tasks_that_do_not_end_are_given_back_uncharged(
    client: QueueTasks,
    scene: Scene,
    name: str,
    processes: int | None,
    limit_s: float,
) -> None:
    """The worker ends in time with exit code 0; another one, which takes no crash, runs them to their end."""
    stubborn = scene.worker("stubborn", arguments=IMPATIENT, processes=processes)
    tasks = [client.add_task(name, str(number), str(scene.folder / "go")) for number in range(TASKS)]
    eventually_sync(lambda: TASKS == len(scene.ledger.counts("start")), PATIENCE_S, "all run")
    asked_at = time.monotonic()
    assert 0 == stubborn.stop()
    took_s = time.monotonic() - asked_at
    print(f"{name}: stopped after {took_s:.2f} s, shutdown_timeout {SHUTDOWN_TIMEOUT_S:g} s")
    assert SHUTDOWN_TIMEOUT_S <= took_s <= 3 * limit_s
    assert ["new"] * TASKS == [task.refresh().status for task in tasks]

    (scene.folder / "go").touch()
    other = scene.worker("other", env=NO_CHARGE)
    assert {other.pid} == {task.result(PATIENCE_S) for task in tasks}
    assert {str(number): 2 for number in range(TASKS)} == scene.ledger.counts("start")
    assert {other.pid} == {entry.pid for entry in scene.ledger.entries("end")}
