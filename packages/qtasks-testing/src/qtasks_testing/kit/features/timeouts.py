"""Limits of a run: an async task is cancelled, one in a thread is left behind, and neither costs the worker a slot."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from qtasks_core.errors import TaskFailedError
from qtasks_core.gathering import gather
from qtasks_core.task_context import BlockingTaskContext, current_context
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.task import Task
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["TimeoutSuite"]

SOON_S = 0.1
MANY = 50


class _Gate:
    """Threads wait before it until the test opens it, which it does at its end at the latest."""

    def __init__(self, stage: Stage) -> None:
        self._event = threading.Event()
        self._patience_s = stage.patience_s
        self._lock = threading.Lock()
        self.inside = 0
        """Threads that wait."""
        self.came = 0
        """Threads that ever came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        """Block until it is open."""
        with self._lock:
            self.inside += 1
            self.came += 1
        self._event.wait(3 * self._patience_s)
        with self._lock:
            self.inside -= 1


class _Asked:
    """One worker's wish for a restart."""

    def __init__(self, all_of_them: list[_Asked]) -> None:
        self.event = asyncio.Event()
        self._all = all_of_them

    def ask(self) -> None:
        self._all.append(self)
        self.event.set()


async def _errors(tasks: list[Task[Any]], timeout_s: float) -> set[str]:
    """Wait for all tasks; return the types of their errors."""
    await asyncio.gather(*(task.wait(timeout_s) for task in tasks))
    return {task.error.type_name if task.error else task.status for task in tasks}


class TimeoutSuite(FeatureSuite):
    """Tests of timeout, max_time and max_abandoned."""

    feature = "Timeouts"

    async def test_an_async_task_is_cancelled(self, stage: Stage) -> None:
        """It can clean up; its status is error, with TaskTimeoutError."""
        app = stage.app()
        seen: list[str] = []

        @app.task(timeout=SOON_S)
        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                seen.append("cleaned up")

        async with stage.worker(app):
            task = await slow.add_task()
            with pytest.raises(TaskFailedError, match=r"TaskTimeoutError: .* timeout of 0\.1 s"):
                await task.result(stage.patience_s)

        assert seen == ["cancelled", "cleaned up"]
        assert task.status == "error"

    async def test_a_task_in_time_is_left_alone(self, stage: Stage) -> None:
        """On the loop and in a thread; max_time is the same option."""
        app = stage.app()

        @app.task(timeout=stage.patience_s)
        async def on_loop() -> int:
            await asyncio.sleep(0)
            return 1

        @app.task(max_time=stage.patience_s)
        def in_thread() -> int:
            return 2

        async with stage.worker(app):
            assert await on_loop.add_task().result(stage.patience_s) == 1
            assert await in_thread.add_task().result(stage.patience_s) == 2

    async def test_a_call_may_ask_for_another_limit(self, stage: Stage) -> None:
        """with_options(timeout=…) goes before what the task says, be it shorter or longer."""
        app = stage.app()

        @app.task(max_time=SOON_S)
        async def short() -> str:
            await asyncio.sleep(3 * SOON_S)
            return "done"

        @app.task(timeout=stage.patience_s)
        async def long() -> None:
            await asyncio.Event().wait()

        async with stage.worker(app):
            assert await short.with_options(timeout=stage.patience_s).add_task().result(stage.patience_s) == "done"
            with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
                await long.with_options(timeout=SOON_S).add_task().result(stage.patience_s)

    async def test_a_timeout_of_the_tasks_own_is_an_error_like_any_other(self, stage: Stage) -> None:
        """TimeoutError from inside is not taken for the limit of the run."""
        app = stage.app()

        @app.task(timeout=stage.patience_s)
        async def asks_elsewhere() -> None:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

        async with stage.worker(app):
            task = await asks_elsewhere.add_task()
            with pytest.raises(TaskFailedError):
                await task.result(stage.patience_s)

        assert task.error is not None
        assert task.error.type_name == "TimeoutError"

    async def test_what_was_too_slow_is_tried_again(self, stage: Stage) -> None:
        """A timeout is an attempt that failed."""
        app = stage.app()
        attempts = itertools.count(1)

        @app.task(timeout=SOON_S, retry=1, retry_backoff=0.0, retry_on_exc=(TimeoutError,))
        async def slow_once() -> int:
            attempt = next(attempts)
            if attempt == 1:
                await asyncio.Event().wait()
            return attempt

        async with stage.worker(app):
            assert await slow_once.add_task().result(stage.patience_s) == 2

    async def test_a_task_in_a_thread_fails_at_once_and_its_thread_is_replaced(self, stage: Stage) -> None:
        """Nobody waits for the thread, and the only slot is free for the next task in a thread."""
        app = stage.app(max_abandoned=10)

        with _Gate(stage) as gate:

            @app.task(timeout=SOON_S)
            def blocks() -> None:
                gate.wait()

            @app.task
            def quick() -> int:
                return gate.inside

            async with stage.worker(app, concurrency=1):
                with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
                    await blocks.add_task().result(stage.patience_s)
                assert await quick.add_task().result(stage.patience_s) == 1

    async def test_what_a_thread_returns_too_late_does_not_count(self, stage: Stage) -> None:
        """Its record is final; the worker lets the thread go, and its slots are what they were."""
        app = stage.app(max_abandoned=10)
        returned = threading.Event()

        with _Gate(stage) as gate:

            @app.task(timeout=SOON_S)
            def late() -> str:
                gate.wait()
                returned.set()
                return "too late"

            @app.task
            def quick() -> str:
                return "in time"

            async with stage.worker(app, concurrency=2) as worker:
                task = await late.add_task()
                await task.wait(stage.patience_s)
                gate.open()
                await eventually(returned.is_set, stage.patience_s)
                many = await quick.add_many([()] * 10)
                assert await gather(*many, timeout=stage.patience_s) == ["in time"] * 10
                await eventually(lambda: worker.running == 0, stage.patience_s, "all slots are free")

        assert task.status == "error"
        with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
            await task.result(stage.patience_s)

    async def test_a_thread_is_told_that_its_time_is_over(self, stage: Stage) -> None:
        """`ctx.cancelled` is true then, so that a task which looks at it can end by itself."""
        app = stage.app(max_abandoned=10)
        ended = threading.Event()

        @app.task(timeout=SOON_S)
        def polite() -> None:
            ctx = current_context()
            assert isinstance(ctx, BlockingTaskContext)
            while not ctx.cancelled:
                threading.Event().wait(0.001)
            ended.set()

        async with stage.worker(app):
            with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
                await polite.add_task().result(stage.patience_s)
            await eventually(ended.is_set, stage.patience_s)

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_generator_that_is_too_slow_is_closed(self, stage: Stage, where: str) -> None:
        """It stops between two values, wherever it runs, and yields nothing more."""
        app = stage.app(max_abandoned=10)
        closed = threading.Event()

        def in_thread() -> Any:
            try:
                for number in itertools.count():
                    threading.Event().wait(0.001)
                    yield number
            finally:
                closed.set()

        async def on_loop() -> Any:
            try:
                for number in itertools.count():
                    await asyncio.sleep(0.001)
                    yield number
            finally:
                closed.set()

        function: Any = in_thread if where == "thread" else on_loop
        endless = app.task(name="endless", timeout=SOON_S)(function)

        async with stage.worker(app):
            with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
                await endless.add_task().result(stage.patience_s)
            await eventually(closed.is_set, stage.patience_s)

    async def test_fifty_threads_that_hang_cost_no_slot(self, stage: Stage) -> None:
        """Below max_abandoned the worker goes on: each fails in its time, and what comes after runs."""
        app = stage.app(max_abandoned=MANY + 1)
        asked: list[str] = []

        with _Gate(stage) as gate:

            @app.task(timeout=SOON_S)
            def hangs() -> None:
                gate.wait()

            @app.task
            def quick(x: int) -> int:
                return x

            async with stage.worker(app, concurrency=10) as worker:
                worker.on_exhausted = lambda: asked.append("restart")
                hanging = await hangs.add_many([()] * MANY)
                behind = await quick.add_many([(x,) for x in range(20)])

                assert await _errors(hanging, 2 * stage.patience_s) == {"qtasks_core.errors.TaskTimeoutError"}
                assert 10 < gate.inside <= MANY  # on a busy machine not every thread begins in time
                assert await gather(*behind, timeout=stage.patience_s) == list(range(20))

        assert asked == []

    async def test_a_worker_whose_threads_hang_asks_for_a_restart_and_loses_nothing(self, stage: Stage) -> None:
        """At max_abandoned (the concurrency, by default): it says so once, drains, and the next one goes on."""
        app = stage.app()
        asked: list[_Asked] = []

        with _Gate(stage) as gate:

            @app.task(timeout=SOON_S)
            def hangs() -> None:
                gate.wait()

            @app.task
            def quick(x: int) -> int:
                return x

            hanging = await hangs.add_many([()] * MANY)
            behind = await quick.add_many([(x,) for x in range(20)])
            ended = asyncio.ensure_future(_errors(hanging, 3 * stage.patience_s))
            for _ in range(MANY):
                async with stage.worker(app, concurrency=10) as worker:
                    exhausted = _Asked(asked)
                    worker.on_exhausted = exhausted.ask
                    waiting = asyncio.ensure_future(exhausted.event.wait())
                    await asyncio.wait([ended, waiting], timeout=stage.patience_s, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    if ended.done():
                        assert await gather(*behind, timeout=stage.patience_s) == list(range(20))
                        break

            assert await ended == {"qtasks_core.errors.TaskTimeoutError"}
            assert gate.came == MANY

        assert asked
        assert len(asked) == len(set(asked))

    async def test_quick_async_tasks_end_while_blocking_ones_hold_their_threads(self, stage: Stage) -> None:
        """A `def` task that blocks holds its thread and its slot, and nothing else."""
        app = stage.app()
        ended: list[str] = []

        with _Gate(stage) as gate:

            @app.task
            def blocks() -> None:
                gate.wait()
                ended.append("blocking")

            @app.task
            async def quick() -> None:
                ended.append("quick")

            async with stage.worker(app, concurrency=8):
                blocking = await blocks.add_many([()] * 6)
                await eventually(lambda: gate.inside == 6, stage.patience_s, "six threads are held")
                many = await quick.add_many([()] * MANY)
                await gather(*many, timeout=stage.patience_s)
                gate.open()
                await gather(*blocking, timeout=stage.patience_s)

        assert ended == ["quick"] * MANY + ["blocking"] * 6
