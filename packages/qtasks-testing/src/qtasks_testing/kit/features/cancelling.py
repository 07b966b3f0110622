"""Cancels: of a task that waits, that runs, that has ended, or that never was."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.control import CANCEL_PREFIX
from qtasks_core.errors import ResultExpiredError, TaskCancelledError
from qtasks_core.naming import new_uuid
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, current_context
from qtasks_testing.kit.features.abilities import CANCELS_WAITING, COMMANDS, RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.task import Task
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["CancelSuite"]

PROMISED_S = 0.5
"""Until a cancel arrives in a running async task."""
AT_MOST = 3
"""How many times that a slow machine may take."""
HOUR_S = 3600.0


class _Ran:
    """A task that notes each of its runs."""

    def __init__(self, app: QueueTasks) -> None:
        self.names: list[str] = []
        self.task = app.task(name="note")(self._note)

    async def _note(self, name: str) -> str:
        self.names.append(name)
        return name


async def _is_cancelled(task: Task[Any], reason: str, timeout_s: float) -> None:
    with pytest.raises(TaskCancelledError, match=reason):
        await task.result(timeout_s)
    assert (task.status, task.reason) == ("cancel", reason)


class CancelSuite(FeatureSuite):
    """Tests of task.cancel(), ctx.cancel() and ctx.cancelled."""

    feature = "Cancel"

    # ---------------------------------------------------------------- it waits

    @requires(COMMANDS)
    async def test_a_task_that_waits_never_starts(self, stage: Stage) -> None:
        """Also when a worker starts only later; who waits for it gets the reason."""
        app = stage.app()
        ran = _Ran(app)
        task = await ran.task.add_task("cancelled")

        assert await task.cancel("not wanted") is True

        async with stage.worker(app):
            await _is_cancelled(task, "not wanted", stage.patience_s)
            await ran.task.add_task("after").result(stage.patience_s)
        assert ran.names == ["after"]

    @requires(CANCELS_WAITING)
    async def test_it_is_cancelled_at_once_where_the_server_can(self, stage: Stage) -> None:
        """No worker is needed for that."""
        task = await _Ran(stage.app()).task.add_task("cancelled")

        assert await task.cancel("not wanted") is True

        await _is_cancelled(task, "not wanted", stage.patience_s)
        assert task.finished_at is not None

    @requires(COMMANDS)
    async def test_a_task_that_is_not_due_never_starts(self, stage: Stage) -> None:
        """Nor does it end before its time where only a worker can cancel it."""
        app = stage.app()
        ran = _Ran(app)
        task = await ran.task.with_options(delay=0.2).add_task("delayed")

        async with stage.worker(app):
            assert await task.cancel("not wanted") is True
            await _is_cancelled(task, "not wanted", stage.patience_s)
            await ran.task.with_options(delay=0.3).add_task("after").result(stage.patience_s)
        assert ran.names == ["after"]

    @requires(CANCELS_WAITING)
    async def test_a_task_that_waits_for_its_next_attempt_is_not_tried_again(self, stage: Stage) -> None:
        """Status retry is waiting too."""
        app = stage.app()
        attempts: list[int] = []

        @app.task(retry=5, retry_backoff=HOUR_S, retry_jitter=False)
        async def fails() -> None:
            attempts.append(current_context().attempt)
            raise ValueError("not yet")

        async with stage.worker(app):
            task = await fails.add_task()
            await stage.until_status(task, "retry")
            assert await task.cancel("given up") is True
            await _is_cancelled(task, "given up", stage.patience_s)

        assert attempts == [1]

    # ---------------------------------------------------------------- it runs

    @requires(COMMANDS)
    async def test_it_arrives_in_a_running_async_task(self, stage: Stage) -> None:
        """As CancelledError inside, within half a second; the task can clean up, and its result is the reason."""
        app = stage.app()
        began, came = asyncio.Event(), asyncio.Event()
        cleaned_up: list[str] = []

        @app.task
        async def endless() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                came.set()
                raise
            finally:
                await asyncio.sleep(0)
                cleaned_up.append("yes")

        async with stage.worker(app):
            task = await endless.add_task()
            await asyncio.wait_for(began.wait(), stage.patience_s)
            asked_at = time.monotonic()
            assert await task.cancel("enough") is True
            await asyncio.wait_for(came.wait(), stage.patience_s)
            took = time.monotonic() - asked_at
            await _is_cancelled(task, "enough", stage.patience_s)

        stage.report(f"a cancel until it arrives in a running task (promised: {PROMISED_S})", took)
        assert took <= AT_MOST * PROMISED_S
        assert cleaned_up == ["yes"]

    @requires(COMMANDS)
    @pytest.mark.parametrize("how", ["looks", "sleeps"])
    async def test_a_task_in_a_thread_is_told(self, stage: Stage, how: str) -> None:
        """`ctx.cancelled` turns true, and `ctx.sleep` ends with TaskCancelError; the reason is the canceller's."""
        app = stage.app()
        began = threading.Event()

        @app.task(echo=True)
        def patient(ctx: BlockingTaskContext) -> None:
            began.set()
            if how == "sleeps":
                ctx.sleep(HOUR_S)
            while not ctx.cancelled:
                threading.Event().wait(0.001)
            ctx.cancel("I was told")

        async with stage.worker(app):
            task = await patient.add_task()
            await eventually(began.is_set, stage.patience_s)
            assert await task.cancel("enough") is True
            await _is_cancelled(task, "enough", stage.patience_s)

    @requires(COMMANDS)
    async def test_a_thread_that_does_not_look_ends_as_it_would(self, stage: Stage) -> None:
        """True means that it was asked for; nothing can stop a thread, and its result counts."""
        app = stage.app()
        began, go_on = threading.Event(), threading.Event()

        @app.task
        def deaf() -> int:
            began.set()
            go_on.wait(3 * stage.patience_s)
            return 7

        async with stage.worker(app):
            task = await deaf.add_task()
            await eventually(began.is_set, stage.patience_s)
            assert await task.cancel("enough") is True
            await asyncio.sleep(stage.silence_s)
            go_on.set()
            assert await task.result(stage.patience_s) == 7

    @requires(COMMANDS)
    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_generator_ends_between_two_values(self, stage: Stage, where: str) -> None:
        """It is closed, and what it had yielded stays in its stream."""
        app = stage.app()
        began, closed = threading.Event(), threading.Event()

        def in_thread() -> Any:
            try:
                while True:
                    yield 1
                    began.set()
                    threading.Event().wait(0.001)
            finally:
                closed.set()

        async def on_loop() -> Any:
            try:
                while True:
                    yield 1
                    began.set()
                    await asyncio.sleep(0.001)
            finally:
                closed.set()

        function: Any = on_loop if where == "loop" else in_thread
        endless = app.task(name="endless")(function)
        async with stage.worker(app):
            task = await endless.add_task()
            await eventually(began.is_set, stage.patience_s)
            assert await task.cancel("enough") is True
            await _is_cancelled(task, "enough", stage.patience_s)
            assert closed.is_set()

            values = task.stream()
            assert await anext(values) == 1
            with pytest.raises(TaskCancelledError, match="enough"):
                assert {value async for value in values} == {1}

    @requires(COMMANDS)
    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_what_fails_when_it_is_cancelled_is_not_tried_again(self, stage: Stage, where: str) -> None:
        """Its end was asked for: neither an error on the way out nor a Postpone brings it back."""
        app = stage.app()
        attempts: list[int] = []
        began = threading.Event()

        async def on_loop() -> None:
            attempts.append(current_context().attempt)
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("while it cleaned up") from None

        def in_thread() -> None:
            ctx = current_context()
            attempts.append(ctx.attempt)
            began.set()
            while not ctx.cancelled:
                threading.Event().wait(0.001)
            raise ValueError("while it cleaned up")

        function: Any = on_loop if where == "loop" else in_thread
        fails = app.task(name="fails", retry=5, retry_backoff=0.0)(function)
        async with stage.worker(app):
            task = await fails.add_task()
            await eventually(began.is_set, stage.patience_s)
            assert await task.cancel("enough") is True
            await _is_cancelled(task, "enough", stage.patience_s)

        assert attempts == [1]

    # ---------------------------------------------------------------- it ends itself, or has ended

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_task_may_cancel_itself(self, stage: Stage, where: str) -> None:
        """ctx.cancel(reason): status cancel, not error, and no further attempt."""
        app = stage.app()
        attempts: list[int] = []

        async def on_loop(ctx: AsyncTaskContext) -> None:
            attempts.append(ctx.attempt)
            ctx.cancel("nothing to do")

        def in_thread(ctx: BlockingTaskContext) -> None:
            attempts.append(ctx.attempt)
            ctx.cancel("nothing to do")

        function: Any = on_loop if where == "loop" else in_thread
        giving_up = app.task(name="giving_up", retry=3, retry_backoff=0.0)(function)
        async with stage.worker(app):
            await _is_cancelled(await giving_up.add_task(), "nothing to do", stage.patience_s)

        assert attempts == [1]

    @requires(RECORDS, COMMANDS)
    async def test_what_has_ended_is_not_cancelled(self, stage: Stage) -> None:
        """False, whoever asks, and its result stays."""
        app = stage.app()
        ran = _Ran(app)
        async with stage.worker(app):
            task = await ran.task.add_task("done")
            await task.result(stage.patience_s)
            cancelled = await ran.task.with_options(delay=0.2).add_task("cancelled")
            await cancelled.cancel("first")
            await cancelled.wait(stage.patience_s)

            assert await task.cancel("too late") is False
            assert await app.cancel(task.uuid, "too late") is False
            assert await (await app.get(task.uuid)).cancel("too late") is False
            assert await cancelled.cancel("second") is False

        assert await (await app.get(task.uuid)).result(stage.patience_s) == "done"
        await _is_cancelled(await app.get(cancelled.uuid), "first", stage.patience_s)

    @requires(RECORDS)
    async def test_an_unknown_task_cannot_be_cancelled(self, stage: Stage) -> None:
        """Nothing is known of it: that is an error, not a silent yes."""
        app = stage.app()

        with pytest.raises(ResultExpiredError, match="nothing is known of task"):
            await app.cancel(new_uuid(), "why")

    @requires(COMMANDS)
    async def test_a_cancel_that_was_obeyed_is_taken_back(self, stage: Stage) -> None:
        """Nothing is left of it in the shared memory, and the same task may be replayed."""
        app = stage.app()
        began = asyncio.Event()

        @app.task
        async def endless() -> None:
            began.set()
            await asyncio.Event().wait()

        async with stage.worker(app):
            task = await endless.add_task()
            await asyncio.wait_for(began.wait(), stage.patience_s)
            await task.cancel("enough")
            await _is_cancelled(task, "enough", stage.patience_s)
            shared: Any = app.core.engine().global_config

            async def is_gone() -> bool:
                return not any(one.value for one in (await shared.list(CANCEL_PREFIX)).values())

            await eventually(is_gone, stage.patience_s)

    @requires(COMMANDS)
    async def test_each_of_many_has_one_end(self, stage: Stage) -> None:
        """A hundred, half of them cancelled while a worker takes them: success or cancel, and none hangs."""
        app = stage.app()
        began: list[int] = []
        ended: list[int] = []

        @app.task
        async def work(number: int) -> int:
            began.append(number)
            await asyncio.sleep(0.002)
            ended.append(number)
            return number

        async with stage.worker(app, concurrency=4):
            tasks = await work.add_many([(number,) for number in range(100)])
            answers = [await task.cancel("enough") for task in tasks[::2]]
            for task in tasks:
                await task.wait(stage.patience_s)

        assert len(began) == len(set(began))
        statuses = [task.status for task in tasks]
        assert set(statuses[1::2]) == {"success"}
        assert set(statuses) <= {"success", "cancel"}
        succeeded = {number for number, status in enumerate(statuses) if status == "success"}
        assert set(ended) == succeeded
        refused = {number for number, answer in zip(range(0, 100, 2), answers, strict=True) if not answer}
        assert refused <= succeeded
