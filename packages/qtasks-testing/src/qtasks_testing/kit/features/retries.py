"""Further attempts: how many, after how long, for what, and what is left when they are exhausted."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.contract import Inspectable
from qtasks_core.errors import Postpone, Retry, TaskFailedError
from qtasks_core.task import StreamRestart
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, current_context
from qtasks_testing.kit.features.abilities import DEAD_LETTERS, RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.aio import QueueTasks
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["RetrySuite"]

QUICK: dict[str, Any] = {"retry_backoff": 0.0}
WAIT_S = 0.2
CLOCK_S = 0.02
"""Two clocks are compared: so much may they differ."""
HOUR_S = 3600.0


class _Failing:
    """A task that fails so many times, and notes when each of its runs began and ended."""

    def __init__(self, times: int, error: Callable[[], BaseException] = lambda: ValueError("not yet")) -> None:
        self.began: list[float] = []
        self.ended: list[float] = []
        self.attempts: list[int] = []
        self._times = times
        self._error = error

    async def run(self) -> int:
        return self._run()

    def run_in_thread(self) -> int:
        return self._run()

    def _run(self) -> int:
        self.began.append(time.time())
        self.attempts.append(current_context().attempt)
        self.ended.append(time.time())
        if len(self.began) <= self._times:
            raise self._error()
        return len(self.began)

    @property
    def waits(self) -> list[float]:
        """Seconds from the end of each run to the begin of the next."""
        return [began - ended for ended, began in zip(self.ended, self.began[1:], strict=False)]


async def _dead(app: QueueTasks) -> list[tuple[Any, str]]:
    """Return uuid and reason of each dead letter."""
    broker = app.core.engine().broker
    assert isinstance(broker, Inspectable)
    return [(envelope.uuid, reason) async for _, envelope, reason in broker.peek("default", dead=True)]


class RetrySuite(FeatureSuite):
    """Tests of retry, retry_on_exc, retry_backoff, retry_max_delay, dead_letter, Retry and Postpone."""

    feature = "Retries"

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_task_that_fails_is_tried_again(self, stage: Stage, where: str) -> None:
        """With the same uuid, the attempts counted from 1, until it succeeds."""
        app, failing = stage.app(), _Failing(2)
        function: Any = failing.run if where == "loop" else failing.run_in_thread
        task = app.task(name="failing", retry=5, **QUICK)(function)

        async with stage.worker(app):
            added = await task.add_task()
            assert await added.result(stage.patience_s) == 3

        assert failing.attempts == [1, 2, 3]
        assert (added.status, added.attempt) == ("success", 3)

    async def test_the_last_error_is_the_result_when_no_attempt_is_left(self, stage: Stage) -> None:
        """One attempt and *retry* further ones; the traceback is that of the last."""
        app, failing = stage.app(), _Failing(9, lambda: ValueError(f"no. {len(failing.began)}"))
        task = app.task(name="failing", retry=2, **QUICK)(failing.run)

        async with stage.worker(app):
            added = await task.add_task()
            with pytest.raises(TaskFailedError, match=r"ValueError: no\. 3"):
                await added.result(stage.patience_s)

        assert failing.attempts == [1, 2, 3]
        assert (added.status, added.attempt) == ("error", 3)

    async def test_without_retry_one_attempt_is_all(self, stage: Stage) -> None:
        """The default is none."""
        app, failing = stage.app(), _Failing(9)
        task = app.task(name="failing")(failing.run)

        async with stage.worker(app):
            with pytest.raises(TaskFailedError):
                await task.add_task().result(stage.patience_s)

        assert failing.attempts == [1]

    @pytest.mark.parametrize(("of_task", "of_call", "attempts"), [(0, 2, [1, 2, 3]), (5, 0, [1]), (1, 3, [1, 2, 3, 4])])
    async def test_a_call_may_ask_for_another_number(
        self, stage: Stage, of_task: int, of_call: int, attempts: list[int]
    ) -> None:
        """with_options(retry=…) goes before what the task says."""
        app, failing = stage.app(), _Failing(9)
        task = app.task(name="failing", retry=of_task, **QUICK)(failing.run)

        async with stage.worker(app):
            with pytest.raises(TaskFailedError):
                await task.with_options(retry=of_call).add_task().result(stage.patience_s)

        assert failing.attempts == attempts

    @pytest.mark.parametrize(("error", "attempts"), [(ConnectionResetError, 3), (ValueError, 1)])
    async def test_only_what_is_named_is_tried_again(self, stage: Stage, error: type[Exception], attempts: int) -> None:
        """retry_on_exc: those classes and their subclasses."""
        app, failing = stage.app(), _Failing(9, error)
        task = app.task(name="failing", retry=2, retry_on_exc=(ConnectionError, KeyError), **QUICK)(failing.run)

        async with stage.worker(app):
            with pytest.raises(TaskFailedError, match=error.__name__):
                await task.add_task().result(stage.patience_s)

        assert len(failing.began) == attempts

    async def test_no_attempt_comes_before_its_time(self, stage: Stage) -> None:
        """retry_backoff in seconds, without jitter: at least so long after the end of the attempt before."""
        app, failing = stage.app(), _Failing(2)
        task = app.task(name="failing", retry=2, retry_backoff=WAIT_S, retry_jitter=False)(failing.run)

        async with stage.worker(app):
            await task.add_task().result(stage.patience_s)

        assert len(failing.waits) == 2
        assert min(failing.waits) >= WAIT_S - CLOCK_S

    async def test_a_function_may_say_how_long_to_wait(self, stage: Stage) -> None:
        """It gets the number of the attempt that failed."""
        asked: list[int] = []

        def backoff(attempt: int) -> float:
            asked.append(attempt)
            return WAIT_S * (attempt - 1)

        app, failing = stage.app(), _Failing(2)
        task = app.task(name="failing", retry=2, retry_backoff=backoff, retry_jitter=False)(failing.run)

        async with stage.worker(app):
            await task.add_task().result(stage.patience_s)

        assert asked == [1, 2]
        assert failing.waits[1] >= WAIT_S - CLOCK_S

    async def test_no_wait_is_longer_than_the_longest(self, stage: Stage) -> None:
        """retry_max_delay holds for whatever the backoff says."""
        app, failing = stage.app(), _Failing(2)
        task = app.task(name="failing", retry=2, retry_backoff=HOUR_S, retry_max_delay=0.01)(failing.run)

        async with stage.worker(app):
            assert await task.add_task().result(stage.patience_s) == 3

    @requires(RECORDS)
    async def test_its_status_is_retry_while_it_waits(self, stage: Stage) -> None:
        """With the number of the attempt that follows, and the error of the one that failed."""
        app, failing = stage.app(), _Failing(9)
        task = app.task(name="failing", retry=1, retry_backoff=HOUR_S, retry_jitter=False)(failing.run)

        async with stage.worker(app):
            added = await task.add_task()
            await stage.until_status(added, "retry")

        assert added.attempt == 2
        assert added.finished_at is None
        assert added.error is not None
        assert added.error.message == "not yet"

    async def test_it_waits_in_the_queue_not_in_the_worker(self, stage: Stage) -> None:
        """Another worker runs the next attempt when the first has stopped; arguments and options are the same."""
        app = stage.app()
        seen: list[tuple[int, tuple[Any, ...]]] = []
        failed = asyncio.Event()

        @app.task(echo=True, retry=1, retry_backoff=0.1)
        async def work(ctx: AsyncTaskContext, x: int, y: str) -> str:
            seen.append((ctx.attempt, (x, y, ctx.priority, dict(ctx.headers), ctx.queue)))
            failed.set()
            if ctx.attempt == 1:
                raise ValueError("not yet")
            return y * x

        async with stage.worker(app):
            added = await work.with_options(priority=3, headers={"tenant": "a"}).add_task(2, y="ab")
            await asyncio.wait_for(failed.wait(), stage.patience_s)
        async with stage.worker(app, name="second"):
            assert await added.result(stage.patience_s) == "abab"

        assert added.worker == "second"
        assert seen == [(attempt, (2, "ab", 3, {"tenant": "a"}, "default")) for attempt in (1, 2)]

    async def test_a_task_may_ask_for_another_attempt(self, stage: Stage) -> None:
        """Retry(delay=…) comes after that time, whatever the backoff and retry_on_exc say."""
        app, failing = stage.app(), _Failing(1, lambda: Retry(delay=WAIT_S))
        task = app.task(name="asking", retry=1, retry_backoff=HOUR_S, retry_on_exc=(KeyError,))(failing.run)

        async with stage.worker(app):
            assert await task.add_task().result(stage.patience_s) == 2

        assert failing.attempts == [1, 2]
        assert failing.waits[0] >= WAIT_S - CLOCK_S

    @pytest.mark.parametrize("retry", [0, 1])
    async def test_who_asks_once_too_often_fails(self, stage: Stage, retry: int) -> None:
        """Retry is counted like any other failure; with retry=0 the first is one too many."""
        app, failing = stage.app(), _Failing(9, lambda: Retry(delay=0.0))
        task = app.task(name="asking", retry=retry)(failing.run)

        async with stage.worker(app):
            added = await task.add_task()
            with pytest.raises(TaskFailedError, match="Retry"):
                await added.result(stage.patience_s)

        assert len(failing.began) == retry + 1
        assert added.status == "error"

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_what_is_postponed_is_not_charged(self, stage: Stage, where: str) -> None:
        """Postpone(delay=…) puts it back as the same attempt, as often as it likes, after that time."""
        app, failing = stage.app(), _Failing(3, lambda: Postpone(delay=0.05))
        function: Any = failing.run if where == "loop" else failing.run_in_thread
        task = app.task(name="postponing")(function)

        async with stage.worker(app):
            added = await task.add_task()
            assert await added.result(stage.patience_s) == 4

        assert failing.attempts == [1, 1, 1, 1]
        assert min(failing.waits) >= 0.05 - CLOCK_S
        assert added.attempt == 1

    @requires(DEAD_LETTERS)
    @pytest.mark.parametrize("retry", [0, 1])
    async def test_the_message_of_what_failed_for_good_is_kept(self, stage: Stage, retry: int) -> None:
        """Among the dead letters of its queue, with the reason; what succeeds at last is not there."""
        app, failing, mended = stage.app(), _Failing(9), _Failing(1)
        task = app.task(name="failing", retry=retry, **QUICK)(failing.run)
        other = app.task(name="mended", retry=1, **QUICK)(mended.run)

        async with stage.worker(app):
            added = await task.add_task()
            await other.add_task().result(stage.patience_s)
            await added.wait(stage.patience_s)

        assert await _dead(app) == [(added.uuid, "ValueError: not yet")]

    @requires(DEAD_LETTERS)
    async def test_it_is_not_kept_where_the_task_does_not_want_it(self, stage: Stage) -> None:
        """dead_letter=False, of the task or of the app; the task goes before the app."""
        app = stage.app(dead_letter=False)
        plain, wanted = _Failing(9), _Failing(9)
        by_default = app.task(name="plain")(plain.run)
        asked_for = app.task(name="wanted", dead_letter=True)(wanted.run)
        refused = app.task(name="refused", dead_letter=False)(plain.run)

        async with stage.worker(app):
            added = [await one.add_task() for one in (by_default, asked_for, refused)]
            for one in added:
                await one.wait(stage.patience_s)

        assert [uuid for uuid, _ in await _dead(app)] == [added[1].uuid]

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_the_stream_of_a_further_attempt_begins_anew_with_a_mark(self, stage: Stage, where: str) -> None:
        """A reader sees a StreamRestart, then the values from the first on."""
        app = stage.app()
        read_all = asyncio.Event()
        loop = asyncio.get_running_loop()

        def in_thread(ctx: BlockingTaskContext) -> Any:
            yield 1
            yield 2
            if ctx.attempt == 1:
                asyncio.run_coroutine_threadsafe(read_all.wait(), loop).result(stage.patience_s)
                raise ValueError("in the middle")
            yield 3

        async def on_loop(ctx: AsyncTaskContext) -> Any:
            yield 1
            yield 2
            if ctx.attempt == 1:
                await asyncio.wait_for(read_all.wait(), stage.patience_s)
                raise ValueError("in the middle")
            yield 3

        function: Any = on_loop if where == "loop" else in_thread
        task = app.task(name="counting", retry=1, **QUICK)(function)
        seen: list[Any] = []

        async with stage.worker(app):
            added = await task.add_task()
            async with asyncio.timeout(stage.patience_s), aclosing(added.stream()) as stream:
                async for value in stream:
                    seen.append(value)
                    if seen == [1, 2]:
                        read_all.set()

            assert await added.result(stage.patience_s) == [1, 2, 3]

        assert seen == [1, 2, StreamRestart(attempt=2), 1, 2, 3]
