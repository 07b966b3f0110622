"""Clients that fork after they have used the app: each process has results of its own, from a real worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faults.place import EVERYWHERE
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.scene import Scene
    from qtasks import QueueTasks

pytestmark = [EVERYWHERE, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")]
FAMILIES = {
    "prefork": {"parent", *(f"child-{number}" for number in range(4))},
    "refork": {"parent", "middle", "grandchild", "middle-again"},
    "pool": {"parent", "process", *(f"pool-{number}" for number in range(4))},
}


def _run(scene: Scene, way: str) -> str:
    """Run a program that forks, and that says nothing but what it prints; return that."""
    options = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    with subprocess.Popen(
        [sys.executable, *options, "-m", "faults.forking", way],
        cwd=scene.folder,
        env=scene.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            out, err = program.communicate(timeout=PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of zombies
                os.killpg(program.pid, signal.SIGKILL)  # a child that hangs would hang for ever
    assert ("", 0) == (err, program.returncode)
    return out


def _ran_once(scene: Scene, keys: set[str], printed: str) -> None:
    """Wait for the end of all that was added, by busy threads too, and look that nothing ran twice."""
    busy = {f"busy-{who}-{number}" for who, count in enumerate(printed.split()) for number in range(int(count))}
    expected = dict.fromkeys({*keys, *busy, "waiting"}, 1)
    eventually_sync(lambda: len(scene.ledger.counts("end")) >= len(expected), PATIENCE_S, "all have run")
    assert expected == scene.ledger.counts("end")


@pytest.mark.parametrize("way", FAMILIES)
def test_forked_clients_add_and_get_their_results(scene: Scene, way: str) -> None:
    """Whatever the parent had open or was waiting for; each task runs once, and nobody says a word on stderr."""
    scene.worker("a")
    printed = _run(scene, way)
    keys = {f"{who}-{kind}-{number}" for who in FAMILIES[way] for kind in ("one", "many") for number in range(10)}
    _ran_once(scene, keys, printed)


def test_no_fork_leaves_a_child_that_hangs(scene: Scene) -> None:
    """Fork after fork amid the writes of other threads: whatever they held, no child waits for it."""
    scene.worker("a")
    printed = _run(scene, "storm")
    _ran_once(scene, {f"storm-{number}" for number in range(12)}, printed)


def test_what_a_child_adds_is_there_when_its_parent_has_left(scene: Scene, client: QueueTasks) -> None:
    """The parent closes the file, nobody else has it open, and the child that has added a task is killed."""
    early = scene.worker("early")  # else clients say that no worker was ever here
    client.add_task("work", "early").result(PATIENCE_S)
    assert 0 == early.stop()
    client.stop()
    _run(scene, "orphan")
    worker = scene.worker("a")
    assert worker.pid == client.add_task("work", "last").result(PATIENCE_S)
    assert {"early": 1, "before": 1, "first": 1, "second": 1, "last": 1} == scene.ledger.counts("end")
