"""How a worker stops, and what it does with deliveries that it lost or that may be duplicates."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Evicts
from qtasks_core.errors import TaskDeadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


async def test_running_tasks_finish_before_the_stop(app: QueueTasks, running: Running) -> None:
    """A drain waits for what runs, takes nothing new, and writes the results."""
    begun, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def work(number: int) -> int:
        begun.set()
        await go.wait()
        return number

    async with running(app, concurrency=1) as worker:
        tasks = await work.add_many([(1,), (2,)])
        await begun.wait()
        draining = asyncio.create_task(worker.drain(5))
        await asyncio.sleep(0)
        go.set()
        assert await draining
        first, second = [(await task.refresh()).status for task in tasks]

    assert ("success", "new") == (first, second)


async def test_async_tasks_that_outlast_the_stop_are_cancelled_and_given_back(
    app: QueueTasks, running: Running
) -> None:
    """After shutdown_timeout the run is cancelled; the task waits again, uncharged, and no error is recorded."""
    begun = asyncio.Event()
    cancelled: list[bool] = []

    @app.task
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with running(app) as worker:
        task = await endless.add_task()
        await begun.wait()
        assert not await worker.drain(0.05)
        await task.refresh()

    assert ([True], "new", 1) == (cancelled, task.status, task.attempt)


async def test_a_cancelled_task_may_still_end_by_itself(app: QueueTasks, running: Running) -> None:
    """A task that cleans up and returns when it is cancelled at the stop has succeeded."""
    begun = asyncio.Event()

    @app.task
    async def tidy() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "tidied up"
        return "never"

    async with running(app) as worker:
        task = await tidy.add_task()
        await begun.wait()
        await worker.drain(0.05)
        assert "tidied up" == await task.result(timeout=5)


async def test_threads_that_outlast_the_stop_are_left_and_their_tasks_given_back(
    app: QueueTasks, running: Running
) -> None:
    """A thread cannot be stopped: its task waits again, and what the thread returns later is not written."""
    begun, go = threading.Event(), threading.Event()

    @app.task
    def stubborn() -> str:
        begun.set()
        go.wait(10)
        return "too late"

    async with running(app) as worker:
        task = await stubborn.add_task()
        await asyncio.to_thread(begun.wait)
        assert not await worker.drain(0.05)
        await task.refresh()
        assert "new" == task.status
        go.set()


async def test_an_evicted_worker_stops_its_runs_and_its_results_do_not_count(app: QueueTasks, running: Running) -> None:
    """What was taken over is cancelled here; it runs again as a suspect, charged once, and one outcome counts."""
    begun = asyncio.Event()
    runs = 0

    @app.task
    async def work() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            begun.set()
            await asyncio.Event().wait()
        return runs

    async with running(app) as worker:
        task = await work.add_task()
        await begun.wait()
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        assert 1 == await broker.evict(worker.name)
        assert 2 == await task.result(timeout=5)

    assert 2 == runs


async def test_a_task_that_is_taken_over_too_often_is_dead(running: Running) -> None:
    """After max_deliveries crashes the task is dead-lettered with the reason, and does not run again."""
    app = QueueTasks("test", "memory://", config=QueueConfig(max_deliveries=3))
    begun = asyncio.Event()
    runs = 0

    @app.task
    async def killer() -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await asyncio.Event().wait()

    async with running(app) as worker:
        task = await killer.add_task()
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        for _ in range(3):
            await asyncio.wait_for(begun.wait(), 5)
            begun.clear()
            await broker.evict(worker.name)
        with pytest.raises(TaskDeadError, match=r"died 3 times while it ran \(max_deliveries 3\)"):
            await task.result(timeout=5)

    assert 3 == runs


async def test_neighbours_of_a_killer_live(running: Running) -> None:
    """A task on its last allowed crash runs beside no other suspect, so its neighbours are not charged to death."""
    app = QueueTasks("test", "memory://", config=QueueConfig(max_deliveries=3))
    attacks = asyncio.Queue[str]()
    killed = False

    @app.task
    async def killer() -> None:
        attacks.put_nowait("killer")
        await asyncio.Event().wait()

    @app.task
    async def neighbour(number: int) -> int:
        if not killed:
            await asyncio.Event().wait()
        return number

    async with running(app, concurrency=8) as worker:
        bad = await killer.add_task()
        good = await neighbour.add_many([(n,) for n in range(7)])
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        for _ in range(2):
            await asyncio.wait_for(attacks.get(), 5)
            while worker.running < 8:
                await asyncio.sleep(0.001)
            await broker.evict(worker.name)
        killed = True  # from now on neighbours end at once, when they may run at all
        await asyncio.wait_for(attacks.get(), 5)
        await broker.evict(worker.name)
        with pytest.raises(TaskDeadError):
            await bad.result(timeout=10)
        assert list(range(7)) == [await task.result(timeout=10) for task in good]
