"""Queues: which one a task waits in, who takes from it, how much of it runs at once, and when nothing does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from qtasks_core.gathering import gather
from qtasks_testing.kit.features.abilities import COMMANDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.calls import AsyncTaskFunction
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["QueuesSuite"]


class _Marks:
    """A task that notes which of its calls have run."""

    def __init__(self, app: QueueTasks) -> None:
        self.ran: list[str] = []

        @app.task
        async def mark(name: str) -> None:
            self.ran.append(name)

        self.task: AsyncTaskFunction[[str], None, Any] = mark


async def _until_paused(stage: Stage, marks: _Marks, queue: str) -> int:
    """Add marks until one is not taken; return how many were."""
    for number in range(1000):
        await marks.task.with_options(queue=queue).add_task(f"{queue} {number}")
        await asyncio.sleep(stage.silence_s)
        if f"{queue} {number}" not in marks.ran:
            return number
    raise AssertionError(f"queue {queue} was never paused")


class QueuesSuite(FeatureSuite):
    """Tests of queue, queues, queue_concurrency, pause and resume."""

    feature = "Queues"

    async def test_a_task_waits_in_its_queue(self, stage: Stage) -> None:
        """The call's, else the task's, else the first of the app's."""
        app = stage.app(queues=("first", "second"))

        @app.task
        async def plain() -> None: ...

        @app.task(queue="mail")
        async def mail() -> None: ...

        assert (await plain.add_task()).queue == "first"
        assert (await mail.add_task()).queue == "mail"
        assert (await mail.with_options(queue="second").add_task()).queue == "second"

    async def test_a_worker_takes_from_its_queues_only(self, stage: Stage) -> None:
        """Others wait for a worker that takes from theirs."""
        app = stage.app()
        marks = _Marks(app)
        for queue in ("a", "b", "c"):
            await marks.task.with_options(queue=queue).add_task(queue)
        last = await marks.task.with_options(queue="b").add_task("last")

        async with stage.worker(app, queues=("a", "b"), concurrency=1):
            await last.result(stage.patience_s)
            await eventually(lambda: len(marks.ran) == 3, stage.patience_s)
            await asyncio.sleep(stage.silence_s)
        assert sorted(marks.ran) == ["a", "b", "last"]

        async with stage.worker(app, queues=("c",)):
            await eventually(lambda: "c" in marks.ran, stage.patience_s)

    async def test_no_more_of_a_queue_runs_than_it_may(self, stage: Stage) -> None:
        """queue_concurrency: the other slots are for the other queues, also when the limited one is full of work."""
        app = stage.app(queue_concurrency={"slow": 2})
        running: list[int] = []
        most: list[int] = []
        go_on = asyncio.Event()

        @app.task(queue="slow")
        async def slow(number: int) -> int:
            running.append(number)
            most.append(len(running))
            await go_on.wait()
            await asyncio.sleep(0)
            running.remove(number)
            return number

        marks = _Marks(app)
        async with stage.worker(app, queues=("slow", "default"), concurrency=6):
            limited = await slow.add_many([(number,) for number in range(20)])
            await eventually(lambda: len(running) == 2, stage.patience_s)
            others = await marks.task.add_many([(f"{number}",) for number in range(50)])
            await gather(*others, timeout=stage.patience_s)
            assert len(running) == 2
            go_on.set()
            assert await gather(*limited, timeout=stage.patience_s) == list(range(20))

        assert max(most) == 2

    async def test_a_limit_holds_for_threads_too(self, stage: Stage) -> None:
        """One at a time, and every one in the end."""
        app = stage.app(queue_concurrency={"slow": 1})
        lock = threading.Lock()
        overlaps: list[int] = []

        @app.task(queue="slow")
        def slow(number: int) -> int:
            if not lock.acquire(blocking=False):
                overlaps.append(number)
                return number
            threading.Event().wait(0.002)
            lock.release()
            return number

        async with stage.worker(app, queues=("slow",), concurrency=8):
            tasks = await slow.add_many([(number,) for number in range(20)])
            assert await gather(*tasks, timeout=stage.patience_s) == list(range(20))

        assert overlaps == []

    @requires(COMMANDS)
    async def test_nothing_more_is_taken_from_a_paused_queue(self, stage: Stage) -> None:
        """What runs goes on, other queues go on, and after resume everything that waited runs."""
        app = stage.app()
        marks = _Marks(app)
        go_on, began = asyncio.Event(), asyncio.Event()

        @app.task(queue="a")
        async def long() -> str:
            began.set()
            await go_on.wait()
            return "done"

        async with stage.worker(app, queues=("a", "b")):
            running = await long.add_task()
            await asyncio.wait_for(began.wait(), stage.patience_s)
            await app.pause("a")
            waits = await _until_paused(stage, marks, "a")

            await marks.task.with_options(queue="b").add_task("b").result(stage.patience_s)
            go_on.set()
            assert await running.result(stage.patience_s) == "done"
            assert f"a {waits}" not in marks.ran
            assert await app.paused() == ["a"]

            await app.resume("a")
            await eventually(lambda: f"a {waits}" in marks.ran, stage.patience_s)
            assert await app.paused() == []

    @requires(COMMANDS)
    async def test_a_pause_outlives_the_worker(self, stage: Stage) -> None:
        """A worker that starts later takes nothing from the queue before it is resumed."""
        app = stage.app()
        marks = _Marks(app)
        async with stage.worker(app, queues=("a", "b")):
            await app.pause("a")
            waits = await _until_paused(stage, marks, "a")
        async with stage.worker(app, queues=("a", "b")):
            await marks.task.with_options(queue="b").add_task("b").result(stage.patience_s)
            await asyncio.sleep(stage.silence_s)
            assert f"a {waits}" not in marks.ran

            await app.resume("a")
            await eventually(lambda: f"a {waits}" in marks.ran, stage.patience_s)

    @requires(COMMANDS)
    async def test_a_worker_may_find_all_its_queues_paused(self, stage: Stage) -> None:
        """It waits, and works when one is resumed."""
        app = stage.app()
        marks = _Marks(app)
        for queue in ("a", "b"):
            await app.pause(queue)
            await marks.task.with_options(queue=queue).add_task(queue)

        async with stage.worker(app, queues=("a", "b")):
            await asyncio.sleep(stage.silence_s)
            assert marks.ran == []
            await app.resume("b")
            await eventually(lambda: marks.ran == ["b"], stage.patience_s)
            await app.resume("a")
            await eventually(lambda: marks.ran == ["b", "a"], stage.patience_s)

    @requires(COMMANDS)
    async def test_a_pause_and_a_limit_go_together(self, stage: Stage) -> None:
        """The queue that may run one at a time is paused and resumed like any other."""
        app = stage.app(queue_concurrency={"a": 1})
        marks = _Marks(app)
        async with stage.worker(app, queues=("a",)):
            await app.pause("a")
            waits = await _until_paused(stage, marks, "a")
            await app.resume("a")
            more = [await marks.task.with_options(queue="a").add_task(f"more {number}") for number in range(5)]
            await gather(*more, timeout=stage.patience_s)

        assert f"a {waits}" in marks.ran
