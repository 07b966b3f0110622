"""Workers that are killed, stopped and kept busy under load: nothing is lost, and repeats are bounded."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.place import Place
    from faults.scene import Scene
    from qtasks import QueueTasks
    from qtasks_testing.ledger import Ledger

CONCURRENCY = 8
KILLS = 6
TASKS = 4000

pytestmark = EVERYWHERE


def _add(client: QueueTasks, count: int, seconds: float, first: int = 0) -> list[Any]:
    work = client.task(name="work")(_signature)
    return work.add_many([(str(number), seconds) for number in range(first, first + count)])


def _signature(key: str, seconds: float) -> int:
    """Stand for the task's code, which only the workers have."""
    raise NotImplementedError


def _has_ended(ledger: Ledger, count: int) -> bool:
    return len(ledger.counts("end")) >= count


def _have_ended(ledger: Ledger, keys: set[str]) -> bool:
    return keys <= ledger.counts("end").keys()


@pytest.mark.timeout(300)
def test_kill_storm_loses_nothing(client: QueueTasks, scene: Scene, place: Place, record_property: Any) -> None:
    """Six kill -9, two workers, 4,000 tasks: all succeed, repeats ≤ in flight, what was held goes on in time."""
    ledger = scene.ledger
    tasks = _add(client, TASKS, 0.02)
    recoveries = []
    workers = [scene.worker(name, concurrency=CONCURRENCY) for name in ("a", "b")]
    for kill in range(KILLS):
        progress = TASKS * (kill + 1) // (KILLS + 2)
        eventually_sync(partial(_has_ended, ledger, progress), 60, "progress")
        victim = random.choice(workers)
        victim.kill()
        held = ledger.unfinished() & {entry.key for entry in ledger.entries("start") if entry.pid == victim.pid}
        killed_at = time.monotonic()
        eventually_sync(partial(_have_ended, ledger, held), 4 * place.recovery_s, "the tasks go on with the other")
        recoveries.append(time.monotonic() - killed_at)
        victim.start()
    for task in tasks:
        task.result(timeout=60)
    exits = [worker.stop() for worker in workers]

    repeats = sum(count - 1 for count in ledger.counts("start").values())
    record_property("recovery_s", max(recoveries))
    print(f"slowest recovery {max(recoveries):.2f} s, repeats {repeats} of at most {KILLS * CONCURRENCY}")
    assert set(map(str, range(TASKS))) == ledger.counts("end").keys()
    assert [0, 0] == exits
    assert repeats <= KILLS * CONCURRENCY
    assert max(recoveries) <= 3 * place.recovery_s


def test_sigterm_in_mid_load_loses_and_repeats_nothing(client: QueueTasks, scene: Scene) -> None:
    """A stopped worker ends with 0; each task has run exactly once when the next worker has done the rest."""
    tasks = _add(client, 400, 0.02)
    a = scene.worker("a", concurrency=CONCURRENCY)
    eventually_sync(partial(_has_ended, scene.ledger, 100), PATIENCE_S, "a quarter of the work")
    assert 0 == a.stop()
    done_by_a = len(scene.ledger.counts("end"))
    b = scene.worker("b", concurrency=CONCURRENCY)
    assert {a.pid: done_by_a, b.pid: 400 - done_by_a} == Counter(task.result(PATIENCE_S) for task in tasks)

    assert 100 <= done_by_a < 400
    assert {1} == set(scene.ledger.counts("start").values())


def test_a_task_longer_than_the_lease_runs_once(client: QueueTasks, scene: Scene) -> None:
    """A task of 15 s beside a lease_ttl of 5 s is not taken over by the other worker."""
    tasks = _add(client, 1, 15)
    workers = [scene.worker("a"), scene.worker("b")]
    assert tasks[0].result(timeout=40) in {worker.pid for worker in workers}

    assert {"0": 1} == scene.ledger.counts("start")


def test_a_supervisor_replaces_a_killed_child_and_its_tasks_go_on(client: QueueTasks, scene: Scene) -> None:
    """With --processes the dead child's deliveries are taken away at once; nothing is lost."""
    tasks = _add(client, 300, 0.02)
    supervisor = scene.worker("a", processes=2, concurrency=CONCURRENCY)
    eventually_sync(partial(_has_ended, scene.ledger, 50), PATIENCE_S, "some work")
    os.kill(scene.ledger.entries("end")[-1].pid, signal.SIGKILL)
    for task in tasks:
        task.result(PATIENCE_S)
    assert set(map(str, range(300))) == scene.ledger.counts("end").keys()

    def replaced() -> bool:
        first = len(scene.ledger.counts("start"))
        for late in _add(client, 20, 0.02, first):
            late.result(PATIENCE_S)
        return len({entry.pid for entry in scene.ledger.entries("start")}) >= 3

    eventually_sync(replaced, PATIENCE_S, "a replacement that takes tasks")
    assert 0 == supervisor.stop()
