"""A task on its last allowed crash: while it runs its worker takes nothing, which its death would charge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Evicts
from qtasks_core.worker import worker as worker_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


class Bench:
    """An app with a task that waits, and one that does not."""

    def __init__(self) -> None:
        self.app = QueueTasks("test", "memory://", config=QueueConfig(max_deliveries=2))
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.wait = self.app.task(name="wait")(self._wait)
        self.quick = self.app.task(name="quick")(self._quick)

    async def _wait(self) -> str:
        self.begun.set()
        await self.go.wait()
        return "went on"

    async def _quick(self) -> str:
        return "quick"

    async def last_chance(self, worker: DefaultWorker) -> None:
        """Let the task that waits begin, and begin again after a crash."""
        await self.begun.wait()
        self.begun.clear()
        broker = self.app.core.engine().broker
        assert isinstance(broker, Evicts)
        assert 1 == await broker.evict(worker.name)
        await asyncio.wait_for(self.begun.wait(), 10)


async def test_nothing_is_taken_beside_it(running: Running) -> None:
    """Other tasks wait, for other workers too, until it has ended; then they run here."""
    bench = Bench()
    async with running(bench.app, concurrency=4) as worker:
        waiting = await bench.wait.add_task()
        await bench.last_chance(worker)
        quick = await bench.quick.add_task()
        for _ in range(100):
            await asyncio.sleep(0)
        assert (1, "new") == (worker.running, (await quick.refresh()).status)
        assert 1 == (await bench.app.core.engine().broker.depth("default")).ready
        bench.go.set()
        assert "went on" == await waiting.result(10)
        assert "quick" == await quick.result(10)


async def test_one_that_runs_for_long_does_not_hold_up_the_others(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while its worker takes tasks again."""
    monkeypatch.setattr(worker_module, "_ALONE_S", 0.05)
    bench = Bench()
    async with running(bench.app, concurrency=4) as worker:
        waiting = await bench.wait.add_task()
        await bench.last_chance(worker)
        assert "quick" == await (await bench.quick.add_task()).result(10)
        bench.go.set()
        assert "went on" == await waiting.result(10)


async def test_a_worker_that_takes_nothing_can_be_stopped(running: Running) -> None:
    """The task ends, and the stop is clean."""
    bench = Bench()
    async with running(bench.app, concurrency=4) as worker:
        waiting = await bench.wait.add_task()
        await bench.last_chance(worker)
        draining = asyncio.create_task(worker.drain(10))
        await asyncio.sleep(0)
        bench.go.set()
        assert await draining
        assert "went on" == await waiting.result(10)
