"""Tasks that kill their worker among innocent ones: they are dead in the end, and the innocent live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks.exceptions import TaskDeadError

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks

NEIGHBOURS = 100
MAX_DELIVERIES = 5  # the default of QueueConfig
pytestmark = EVERYWHERE


def test_a_killer_is_dead_after_max_deliveries_and_its_neighbours_succeed(client: QueueTasks, scene: Scene) -> None:
    """Under a supervisor: each death takes full slots of neighbours along, and none of them is charged to death."""
    neighbours = [client.add_task("work", str(number), 0.2) for number in range(NEIGHBOURS // 2)]
    killer = client.add_task("kill_worker", "killer")
    neighbours += [client.add_task("work", str(number), 0.2) for number in range(NEIGHBOURS // 2, NEIGHBOURS)]
    supervisor = scene.worker("supervised", processes=2, concurrency=8)
    with pytest.raises(TaskDeadError, match=r"its worker died 5 times while it ran \(max_deliveries 5\)"):
        killer.result(PATIENCE_S)
    for neighbour in neighbours:
        neighbour.result(PATIENCE_S)
    assert 0 == supervisor.stop()

    starts = scene.ledger.counts("start")
    assert MAX_DELIVERIES == starts.pop("killer")
    assert set(map(str, range(NEIGHBOURS))) == starts.keys()
    assert ("dead", True) == (killer.status, killer.record.dead_lettered)
    print(f"neighbours that ran more than once: {sum(count > 1 for count in starts.values())}")
