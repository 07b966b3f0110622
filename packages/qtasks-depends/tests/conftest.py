"""What the tests of dependencies share: an app in memory, and a worker on the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager


class Connections:
    """Counts what is opened and closed."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.most = 0

    async def get(self) -> AsyncIterator[int]:
        await asyncio.sleep(0)
        self.opened += 1
        self.most = max(self.most, self.opened - self.closed)
        try:
            yield self.opened
        finally:
            await asyncio.sleep(0)
            self.closed += 1

    def get_sync(self) -> Iterator[int]:
        self.opened += 1
        try:
            yield self.opened
        finally:
            self.closed += 1


class AtWork(Protocol):
    def __call__(self, app: QueueTasks, *, timeout_s: float = 50.0) -> AbstractAsyncContextManager[None]: ...


@pytest.fixture
def app() -> Iterator[QueueTasks]:
    """Return an app in memory."""
    yield (app := QueueTasks("depends", "memory://", config=QueueConfig(concurrency=20)))
    app.core.close_portal()


@pytest.fixture
def at_work() -> AtWork:
    """Return a context manager that runs a worker of an app on this loop, for a while at most."""

    @contextlib.asynccontextmanager
    async def work(app: QueueTasks, *, timeout_s: float = 50.0) -> AsyncIterator[None]:
        async with asyncio.timeout(timeout_s), app.worker():
            yield

    return work


@pytest.fixture
def connections() -> Connections:
    """Return what counts."""
    return Connections()
