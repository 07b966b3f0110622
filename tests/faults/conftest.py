"""What tests of faults share: a scene for processes, and a client without the tasks' code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.scene import Scene
from qtasks import QueueTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qtasks_testing.ledger import Ledger
    from qtasks_testing.processes import WorkerProcess


@pytest.fixture
def scene(tmp_path: Path, ledger: Ledger, root: Path, worker_process: Callable[..., WorkerProcess]) -> Scene:
    """Return a fresh folder to start processes in; they are killed when the test is over."""
    return Scene(tmp_path, ledger, root / "tests", worker_process)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QueueTasks]:
    """Return a client of the app in `faults.tasks` that adds by name."""
    with QueueTasks("faults", f"sqlite:///{tmp_path}/faults.db") as app:
        yield app
