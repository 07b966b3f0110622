"""What tests of state and dependencies between processes share: a place, workers there, and a client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from qtasks.asyncio import QueueTasks
from qtasks_testing.processes import WorkerProcess
from sharing import app as module
from sharing.place import Place


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return where tasks and state are: in a file, or on the server that the test is parametrized with."""
    if getattr(request, "param", "sqlite") == "redis":
        return Place.on_redis(request.getfixturevalue("redis_url"))
    return Place.on_sqlite(tmp_path / "sharing.db")


@pytest.fixture
def start(
    tmp_path: Path, place: Place, root: Path, worker_process: Callable[..., WorkerProcess]
) -> Callable[..., WorkerProcess]:
    """Return a function that starts a worker; it takes the options of `WorkerProcess`."""

    def worker(url: str | None = None, **options: Any) -> WorkerProcess:
        where = {module.NAME: place.name, module.URL: url or place.url, module.FOLDER: str(tmp_path)}
        return worker_process("sharing.app:app", env={"PYTHONPATH": str(root / "tests"), **where}, **options)

    return worker


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[], list[str]]:
    """Return a function that reads what the tasks have noted."""

    def read() -> list[str]:
        path = tmp_path / "notes"
        return path.read_text().splitlines() if path.exists() else []

    return read


@pytest.fixture
async def client(place: Place) -> AsyncIterator[QueueTasks]:
    """Return a client that adds tasks by name and reads states."""
    app = QueueTasks(place.name, place.url)
    async with asyncio.timeout(55):
        yield app
    await app.stop()
