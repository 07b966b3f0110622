"""Clients that fork after they have used the app: each process has results of its own, from a real worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from faults.scene import Scene

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
FAMILIES = {
    "prefork": {"parent", *(f"child-{number}" for number in range(4))},
    "refork": {"parent", "middle", "grandchild", "middle-again"},
    "pool": {"parent", "process", *(f"pool-{number}" for number in range(4))},
}


@pytest.mark.parametrize("way", FAMILIES)
def test_forked_clients_add_and_get_their_results(scene: Scene, way: str) -> None:
    """Whatever the parent had open or was waiting for; each task runs once, and nobody says a word on stderr."""
    scene.worker("a")
    options = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-m", "faults.forking", way],
        cwd=scene.folder,
        env=scene.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    keys = {f"{who}-{kind}-{number}" for who in FAMILIES[way] for kind in ("one", "many") for number in range(10)}
    busy = {f"busy-{who}-{number}" for who, count in enumerate(done.stdout.split()) for number in range(int(count))}
    assert len(busy) >= 2
    expected = dict.fromkeys({*keys, *busy, "waiting"}, 1)
    eventually_sync(lambda: len(scene.ledger.counts("end")) >= len(expected), PATIENCE_S, "all have run")
    assert expected == scene.ledger.counts("end")
