"""A worker on a loop and a thread of its own that stops in the middle of its tasks."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from qtasks_core.worker.worker import DefaultWorker
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.engine import Engine

__all__ = ["Visitor"]

CONCURRENCY = 8
PATIENCE_S = 60.0


class Visitor:
    """Takes tasks for a moment and gives back, uncharged, what it runs; then takes the rest.

    Parameters:
        app: The app.
        name: The worker's.
        queue: What it takes from.
    """

    def __init__(self, app: QueueTasks, name: str, queue: str) -> None:
        self._app = app
        self._name = name
        self._queue = queue
        self._is_ready = threading.Event()
        self._must_leave = threading.Event()
        self._gave_back = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name=name, daemon=True)

    async def arrive(self) -> None:
        """Start it; return when it takes tasks."""
        self._thread.start()
        await eventually(self._is_ready.is_set, PATIENCE_S, "a visitor that takes tasks")

    async def leave(self) -> bool:
        """Wait for its end; return whether it had to give something back."""
        self._must_leave.set()
        await eventually(lambda: not self._thread.is_alive(), PATIENCE_S, "a visitor that leaves")
        self._thread.join()
        return self._gave_back

    async def _live(self) -> None:
        engine = self._app.core.new_engine(self._name)
        await engine.start(control=True)
        hasty = await self._take(engine)
        self._is_ready.set()
        await eventually(lambda: hasty.running or self._must_leave.is_set(), PATIENCE_S, interval_s=0.001)
        self._gave_back = not await hasty.drain(0)
        await hasty.stop()
        patient = await self._take(engine)
        await eventually(self._must_leave.is_set, 2 * PATIENCE_S)
        await patient.drain(PATIENCE_S)
        await patient.stop()
        await self._app.core.close_engine()

    async def _take(self, engine: Engine) -> DefaultWorker:
        worker = DefaultWorker(self._app.core, engine, name=self._name, queues=(self._queue,), concurrency=CONCURRENCY)
        await worker.start()
        return worker
