"""Code that holds the interpreter's lock: its worker can do nothing meanwhile, and keeps its tasks all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks

HELD_S = 8  # longer than lease_ttl, 5 s, and than any look of other workers after the dead


def test_a_task_that_holds_the_lock_runs_once_and_its_worker_lives(client: QueueTasks, scene: Scene) -> None:
    """On the loop and in a thread, beside a worker that is free: nothing is taken over, nobody is evicted."""
    held = [scene.worker(f"held-{number}", concurrency=1) for number in range(2)]
    tasks = [client.add_task(name, name, HELD_S) for name in ("hold_interpreter", "hold_interpreter_in_thread")]
    eventually_sync(lambda: 2 == len(scene.ledger.counts("start")), PATIENCE_S, "both are held")
    free = scene.worker("free", concurrency=4)
    assert free.pid == client.add_task("work", "meanwhile").result(PATIENCE_S)
    assert {"meanwhile"} == scene.ledger.counts("end").keys()
    pids = [task.result(PATIENCE_S) for task in tasks]

    assert {worker.pid for worker in held} == set(pids)
    assert {"hold_interpreter": 1, "hold_interpreter_in_thread": 1, "meanwhile": 1} == scene.ledger.counts("start")
    assert 0 == free.stop()
    again = [client.add_task("work", str(number), 0.2) for number in range(4)]
    assert set(pids) == {task.result(PATIENCE_S) for task in again}
    assert [0, 0] == [worker.stop() for worker in held]
    assert not any("evicted" in worker.log for worker in held)
