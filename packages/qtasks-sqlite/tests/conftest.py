"""What the tests of whole apps on sqlite:// share: a worker on the test's own loop."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import pytest

from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from qtasks_core.aio import QueueTasks


class Running(Protocol):
    def __call__(self, app: QueueTasks, *, concurrency: int = 4) -> AbstractAsyncContextManager[DefaultWorker]: ...


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def running() -> Running:
    """Return a context manager that runs a worker of an app on this loop and drains it at the end."""

    @contextlib.asynccontextmanager
    async def run(app: QueueTasks, *, concurrency: int = 4) -> AsyncIterator[DefaultWorker]:
        engine = app.core.new_engine("worker-1")
        worker = DefaultWorker(app.core, engine, name="worker-1", queues=app.config.queues, concurrency=concurrency)
        await engine.start(control=True)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.drain(5)
            await worker.stop()
            await engine.stop()
            await app.stop()

    return run
