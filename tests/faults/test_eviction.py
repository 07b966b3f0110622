"""A worker that is evicted while it is stopped, and goes on when its tasks are another's: one outcome counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks


pytestmark = EVERYWHERE


def _evict(client: QueueTasks, name: str) -> int:
    return client.core.portal.call(client.core.evict, name)


@pytest.mark.parametrize("name", ["wait_for_file", "wait_in_thread"])
def test_a_stopped_worker_that_was_evicted_comes_back_and_counts_for_nothing(
    name: str, client: QueueTasks, scene: Scene
) -> None:
    """Its run is cancelled, or its result refused, while the other's goes on; afterwards it works as before."""
    zombie = scene.worker("zombie", concurrency=1)
    task = client.add_task(name, "a", str(scene.folder / "go"))
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    scene.pause(zombie)
    assert 1 == _evict(client, "zombie")
    other = scene.worker("other", concurrency=1)
    eventually_sync(lambda: 2 == scene.ledger.counts("start")["a"], PATIENCE_S, "the other has it")
    zombie.resume()
    zombie.wait_log(r"worker zombie was evicted; 1 running task\(s\) are lost")
    assert "process" == task.refresh().status
    (scene.folder / "go").touch()

    assert other.pid == task.result(PATIENCE_S)
    assert 0 == other.stop()
    assert zombie.pid == client.add_task("work", "b").result(PATIENCE_S)
    assert 0 == zombie.stop()
    assert other.pid == task.refresh().returning
    assert {"a": 2, "b": 1} == scene.ledger.counts("start")
    ended_by = {entry.pid for entry in scene.ledger.entries("end") if entry.key == "a"}
    assert ({other.pid} if name == "wait_for_file" else {other.pid, zombie.pid}) == ended_by


def test_a_stopped_worker_whose_task_has_ended_elsewhere_changes_nothing(client: QueueTasks, scene: Scene) -> None:
    """It wakes up with a result of its own, of a task that is over: the first result stays."""
    zombie = scene.worker("zombie", concurrency=1)
    task = client.add_task("wait_in_thread", "a", str(scene.folder / "go"))
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    scene.pause(zombie)
    assert 1 == _evict(client, "zombie")
    (scene.folder / "go").touch()
    other = scene.worker("other", concurrency=1)
    assert other.pid == task.result(PATIENCE_S)
    finished_at = task.finished_at
    zombie.resume()
    eventually_sync(lambda: 2 == scene.ledger.counts("end")["a"], PATIENCE_S, "the zombie ends it too")
    zombie.wait_log("evicted|taken over")
    assert 0 == zombie.stop()

    assert (other.pid, finished_at) == (task.refresh().returning, task.finished_at)
    assert "other" == task.worker
