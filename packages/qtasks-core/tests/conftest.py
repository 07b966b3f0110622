"""What the core's tests share: a worker on the test's own loop."""

from __future__ import annotations

import contextlib
import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

_BESIDE = ",".join(sorted(entry_points(group="qtasks").names))


class Running(Protocol):
    def __call__(
        self, app: QueueTasks, *, concurrency: int = 4, shutdown_timeout: float = 5.0
    ) -> AbstractAsyncContextManager[DefaultWorker]: ...


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no plugin that is installed beside the core."""
    monkeypatch.setenv("QTASKS_DISABLE_PLUGINS", _BESIDE)


@pytest.fixture
def running() -> Running:
    """Return a context manager that runs a worker of an app on this loop and drains it at the end."""

    @contextlib.asynccontextmanager
    async def run(
        app: QueueTasks, *, concurrency: int = 4, shutdown_timeout: float = 5.0
    ) -> AsyncIterator[DefaultWorker]:
        engine = app.core.new_engine("worker-1")
        worker = DefaultWorker(app.core, engine, name="worker-1", queues=app.config.queues, concurrency=concurrency)
        await engine.start(control=True)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.drain(shutdown_timeout)
            await worker.stop()
            await engine.stop()
            await app.stop()

    return run


@pytest.fixture
def app() -> QueueTasks:
    """Return an app in memory whose unknown tasks rest briefly."""
    return QueueTasks("test", "memory://", config=QueueConfig(park_delay=0.02))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what the command line sets up when a test runs it in this process."""
    logger = logging.getLogger("qtasks")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.setLevel(before[0])
    logger.propagate, logger.handlers[:] = before[1], before[2]
