"""What tests of faults share: a scene for processes, and a client without the tasks' code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.place import Place
from faults.scene import Scene
from qtasks import QueueTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qtasks_testing.ledger import Ledger
    from qtasks_testing.processes import WorkerProcess


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return where tasks are: in a file, or on the server that the test is parametrized with (`EVERYWHERE`)."""
    if getattr(request, "param", "sqlite") == "redis":
        return Place.on_redis(request.getfixturevalue("redis_url"))
    return Place.on_sqlite(tmp_path / "faults.db")


@pytest.fixture
def scene(
    tmp_path: Path, place: Place, ledger: Ledger, root: Path, worker_process: Callable[..., WorkerProcess]
) -> Scene:
    """Return a fresh folder to start processes in; they are killed when the test is over."""
    return Scene(tmp_path, place, ledger, root / "tests", worker_process)


@pytest.fixture
def client(place: Place) -> Iterator[QueueTasks]:
    """Return a client of the app in `faults.tasks` that adds by name."""
    with QueueTasks(place.name, place.url) as app:
        yield app
