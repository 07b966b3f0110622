"""How a worker stops, and what it does with deliveries that it lost or that may be duplicates."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.components import Sources
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Evicts
from qtasks_core.errors import TaskDeadError, UnavailableError
from qtasks_core.memory import MemoryBroker
from qtasks_core.worker import worker as worker_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import ComponentContext, Delivery, Outcome, PerItem
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


async def test_a_run_that_is_lost_before_its_first_step_frees_its_slot(app: QueueTasks, running: Running) -> None:
    """It is cancelled before it could do so itself; the worker goes on with the same slots."""
    evictions = 0

    class Snatched(MemoryBroker):
        async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
            nonlocal evictions
            got = await super().receive(limit, per_queue)
            if evictions < 2:
                evictions += 1
                await self.evict("worker-1")  # the news comes before the runs begin
            return got

    app.core.sources = Sources(broker_url="memory://", broker=Snatched("memory://", app.core.new_context()))
    app.core._spare = None

    @app.task
    async def job() -> int:
        return 7

    async with running(app, concurrency=1) as worker:
        assert 7 == await job.add_task().result(timeout=5)
        assert worker.running <= 1

    assert 2 == evictions


async def test_late_news_of_a_loss_does_not_stop_the_next_run(app: QueueTasks, running: Running) -> None:
    """The task was lent to the same worker anew before that hears of the loss: this loan is another one."""
    taken: list[Delivery] = []
    told: list[Callable[[Sequence[Delivery]], None]] = []

    class Late(MemoryBroker):
        async def subscribe(
            self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
        ) -> None:
            told.append(lost)
            await super().subscribe(queues, worker, slots, lambda _: None)

        async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
            got = await super().receive(limit, per_queue)
            taken.extend(got)
            return got

    app.core.sources = Sources(broker_url="memory://", broker=Late("memory://", app.core.new_context()))
    app.core._spare = None
    runs = asyncio.Queue[int]()
    may_end = asyncio.Event()

    @app.task
    async def job() -> int:
        runs.put_nowait(len(taken))
        await may_end.wait()
        return 7

    async with running(app, concurrency=2) as worker:
        task = await job.add_task()
        await asyncio.wait_for(runs.get(), 20)
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        await broker.evict(worker.name)
        await asyncio.wait_for(runs.get(), 20)
        told[-1](taken[:1])
        may_end.set()
        assert 7 == await task.result(timeout=20)


# ---------------------------------------------------------------- a server that is away at the stop


class _Desk(MemoryBroker):
    """A broker that takes no outcomes while it is shut, and notes what it is offered."""

    is_shut = True

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.offered: list[Outcome] = []
        self.tries = 0

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        self.tries += 1
        self.offered += [one for one in batch if one not in self.offered]
        if self.is_shut:
            raise UnavailableError("away")
        return await super().finish_and_settle(batch)

    def verdicts(self) -> list[str]:
        return [type(one.verdict).__name__ for one in self.offered]


@pytest.fixture
def desk(app: QueueTasks, monkeypatch: pytest.MonkeyPatch) -> _Desk:
    """Return the broker of the app, whose worker gives up writing soon."""
    monkeypatch.setattr(worker_module, "_CANCEL_GRACE_S", 0.1)
    monkeypatch.setattr(worker_module, "_LAST_FLUSH_S", 0.3)
    desk = _Desk("memory://", app.core.new_context())
    app.core.sources = Sources(broker_url="memory://", broker=desk)
    app.core._spare = None
    return desk


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_an_outcome_that_waits_for_its_server_is_counted_once(
    app: QueueTasks, running: Running, desk: _Desk
) -> None:
    """Nothing else is put behind it, and one task is one outcome that is not written."""

    @app.task
    async def job() -> None: ...

    async with running(app) as worker:
        await job.add_many([(), ()])
        await _until(lambda: len(desk.offered) == 2)
        assert not await worker.drain(5)
        await worker.stop()
        assert (["Ack", "Ack"], 2) == (desk.verdicts(), worker.unwritten)


async def test_what_cannot_be_given_back_is_counted_too(app: QueueTasks, running: Running, desk: _Desk) -> None:
    """A finished task and one that is still running: one outcome each."""
    begun = asyncio.Event()

    @app.task
    async def job() -> None: ...

    @app.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running(app) as worker:
        await job.add_task()
        await endless.add_task()
        await begun.wait()
        await _until(lambda: len(desk.offered) == 1)
        assert not await worker.drain(0.0)
        await worker.stop()
        assert (["Ack", "Release"], 2) == (desk.verdicts(), worker.unwritten)


async def test_a_server_that_comes_back_at_the_last_moment_gets_everything(
    app: QueueTasks, running: Running, desk: _Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome counts, nothing is taken for a takeover, and the stop is a clean one."""

    @app.task
    async def job() -> int:
        return 7

    async with running(app) as worker:
        task = await job.add_task()
        await _until(lambda: desk.tries == 1)
        draining = asyncio.create_task(worker.drain(5))
        await _until(lambda: desk.tries == 2)
        desk.is_shut = False
        assert await draining
        assert 0 == worker.unwritten
        assert 7 == await task.result(timeout=5)

    assert ["Ack"] == desk.verdicts()
    assert "taken over" not in caplog.text


async def test_a_task_that_ends_after_it_was_given_back_has_no_second_outcome(
    app: QueueTasks, running: Running, desk: _Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """It ignored that it was cancelled: it waits again, uncharged, and what it returns is not written."""
    desk.is_shut = False
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.task
    async def stubborn() -> str:
        begun.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        return "too late"

    async with running(app) as worker:
        task = await stubborn.add_task()
        await begun.wait()
        assert not await worker.drain(0.0)
        assert 0 == worker.running
        go.set()
        await ended.wait()
        await asyncio.sleep(0)
        await task.refresh()

    assert ("new", 1, ["Release"]) == (task.status, task.attempt, desk.verdicts())
    assert "taken over" not in caplog.text


async def test_a_drain_keeps_its_time(app: QueueTasks, running: Running, desk: _Desk) -> None:
    """With a server that is away and a task that will not end it takes what DRAIN_OVERHEAD_S is made of, not more."""
    begun, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def stubborn() -> None:
        begun.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    async with running(app) as worker:
        await stubborn.add_task()
        await begun.wait()
        async with asyncio.timeout(0.1 + 0.1 + 0.3 + 2.0):
            assert not await worker.drain(0.1)
        go.set()
        await worker.stop()
