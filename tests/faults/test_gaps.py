"""kill -9 in each gap between two writes where broker and storage share no server.

No record that never ends, no result and no follow-up lost; of several runs the first that was recorded counts.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faults.gaps import GAP, successor_of
from faults.scene import PATIENCE_S
from faults.two_files import TwoFiles
from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from uuid import UUID

    from faults.scene import Scene

APP = "faults.gap_app"
TASKS = 12
PATIENT = {"QTASKS_MAX_DELIVERIES": "10"}  # some die five times here, and shall live


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[TwoFiles]:
    one = TwoFiles(tmp_path)
    await one.app.core.engine().ensure_started()
    yield one
    await one.app.stop()


@pytest.mark.parametrize(
    "gaps",
    [
        ("after receive", "after mark"),
        ("after send",),
        ("after add",),
        ("after finish",),
        ("after settle",),
        ("after receive", "after mark", "after send", "after add", "after finish", "after settle"),
    ],
    ids=["mark", "send", "add", "finish", "settle", "all"],
)
async def test_workers_killed_in_a_gap_lose_nothing(files: TwoFiles, scene: Scene, gaps: tuple[str, ...]) -> None:
    """One worker after another dies in its gap, the last is well: all ends once, and each has its follow-up."""
    tasks = await files.first.add_many([(str(number),) for number in range(TASKS)])
    for gap in gaps:
        deadly = scene.worker(gap, APP, env={GAP: gap, **PATIENT}, start=False, concurrency=4)
        deadly.start(timeout_s=None)
        assert -signal.SIGKILL == deadly.wait(PATIENCE_S)
    scene.worker("well", APP, env=PATIENT, concurrency=4)
    results = [await files.end_of(task.uuid) for task in tasks]
    for task in tasks:
        await files.end_of(successor_of(task.uuid))
    await files.is_settled()

    records = await files.records()
    assert {one for task in tasks for one in (task.uuid, successor_of(task.uuid))} == records.keys()
    assert {"success"} == {record.status for record in records.values()}
    runs = scene.ledger.counts("first")
    assert set(map(str, range(TASKS))) == runs.keys()
    assert max(runs.values()) <= len(gaps) + 1
    recorded = {entry.key: entry for entry in reversed(scene.ledger.entries("recorded"))}
    assert [recorded[str(task.uuid)].pid for task in tasks] == results
    for number, task in enumerate(tasks):
        last = max(entry.at for entry in scene.ledger.entries("first") if entry.key == str(number))
        assert last < recorded[str(task.uuid)].at


@pytest.mark.parametrize("is_added_again", [False, True])
@pytest.mark.parametrize("gap", ["after send", "after add"])
async def test_a_client_killed_in_a_gap_leaves_a_task_that_runs_once(
    files: TwoFiles, scene: Scene, gap: str, *, is_added_again: bool
) -> None:
    """What was sent runs and ends, and its result is there for who knows the id; adding under it again adds none."""
    uuid = new_uuid()
    assert -signal.SIGKILL == _add(scene, uuid, gap)
    assert ("after add" == gap) == (uuid in await files.records())
    if is_added_again:
        assert 0 == _add(scene, uuid, "")
    worker = scene.worker("well", APP)
    assert worker.pid == await files.end_of(uuid)
    await files.end_of(successor_of(uuid))
    await files.is_settled()

    assert {uuid, successor_of(uuid)} == (await files.records()).keys()
    assert {str(uuid): 1} == scene.ledger.counts("first")


async def test_a_client_killed_before_it_sends_leaves_nothing(files: TwoFiles, scene: Scene) -> None:
    """No record of a task that was never queued: it would never end."""
    assert -signal.SIGKILL == _add(scene, new_uuid(), "before send")
    assert {} == await files.records()
    assert {0} == set(await files.depth())


def _add(scene: Scene, uuid: UUID, gap: str) -> int:
    """Add a task in a process of its own; return its exit code."""
    command = [sys.executable, "-m", APP, str(uuid)]
    environment = scene.environment(**{GAP: gap})
    return subprocess.run(command, cwd=scene.folder, env=environment, timeout=PATIENCE_S, check=False).returncode
