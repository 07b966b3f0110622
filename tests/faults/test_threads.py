"""One app, many threads: the blocking face is used by all of them at once, beside a real worker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks

THREADS = 50
TASKS = 5

pytestmark = EVERYWHERE


def test_fifty_threads_add_and_get_their_own_results(client: QueueTasks, scene: Scene) -> None:
    """They begin at the same moment, with an app that nobody has used yet; each task runs once."""
    scene.worker("a")
    start = threading.Barrier(THREADS)

    def use(thread: int) -> list[str]:
        start.wait(PATIENCE_S)
        keys = [f"{thread}-{number}" for number in range(2 * TASKS)]
        found = [client.add_task("echo", key).result(PATIENCE_S) for key in keys[:TASKS]]
        tasks = [client.add_task("echo", key) for key in keys[TASKS:]]
        return found + [client.get(task.uuid).result(PATIENCE_S) for task in tasks]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(use, range(THREADS)))

    expected = [[f"{thread}-{number}" for number in range(2 * TASKS)] for thread in range(THREADS)]
    assert expected == found
    assert {key: 1 for keys in expected for key in keys} == scene.ledger.counts("end")
