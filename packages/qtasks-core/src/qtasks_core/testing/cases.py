"""Cases of unittest whose app is in memory."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any, ClassVar

from qtasks_core.app import AppFace
from qtasks_core.testing.memory_app import memory_app

if TYPE_CHECKING:
    from qtasks_core.task import BlockingTask, Task
    from qtasks_core.testing.handles import AsyncMemory, BlockingMemory

__all__ = ["AsyncTestCase", "SyncTestCase"]


class SyncTestCase(unittest.TestCase):
    """A case that blocks: each test has `app` in memory, and `self.memory` runs what waits and moves the time.

    A `setUp` of your own calls `super().setUp()` first.
    """

    app: ClassVar[AppFace]
    """The app, either face: `app = app` in the body of the class."""
    memory: BlockingMemory

    def setUp(self) -> None:
        """Connect the app to memory, for the length of the test."""
        super().setUp()
        self.memory = self.enterContext(memory_app(_app_of(self)))

    def run_until_idle(self, *, timeout: float = 30.0, concurrency: int | None = None) -> list[BlockingTask[Any]]:
        """Run what waits and is due, and what that adds; see `AsyncMemory.run_until_idle`."""
        return self.memory.run_until_idle(timeout=timeout, concurrency=concurrency)

    def advance(self, seconds: float) -> None:
        """Move the app's time ahead; see `AsyncMemory.advance`."""
        self.memory.advance(seconds)


class AsyncTestCase(unittest.IsolatedAsyncioTestCase):
    """A case that awaits: each test has `app` in memory, and `self.memory` runs what waits and moves the time.

    An `asyncSetUp` of your own awaits `super().asyncSetUp()` first.
    """

    app: ClassVar[AppFace]
    """The app, either face: `app = app` in the body of the class."""
    memory: AsyncMemory

    async def asyncSetUp(self) -> None:  # unittest's name
        """Connect the app to memory, for the length of the test."""
        await super().asyncSetUp()
        self.memory = await self.enterAsyncContext(memory_app(_app_of(self)))

    async def run_until_idle(self, *, timeout: float = 30.0, concurrency: int | None = None) -> list[Task[Any]]:
        """Run what waits and is due, and what that adds; see `AsyncMemory.run_until_idle`."""
        return await self.memory.run_until_idle(timeout=timeout, concurrency=concurrency)

    def advance(self, seconds: float) -> None:
        """Move the app's time ahead; see `AsyncMemory.advance`."""
        self.memory.advance(seconds)


def _app_of(case: object) -> AppFace:
    app = getattr(case, "app", None)
    if not isinstance(app, AppFace):
        raise TypeError(f"{type(case).__name__}.app: expected `app = …` with a QueueTasks in the class, got {app!r}")
    return app
