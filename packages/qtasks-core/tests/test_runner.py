"""From how a run ended to what becomes of its task: what is tried again, what is given back, and what is neither."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Ack, Dead, Delivery, Envelope, Message, Outcome, Release, Retry
from qtasks_core.errors import Postpone, TaskCancelError, TaskCancelledError, TaskFailedError
from qtasks_core.naming import new_uuid
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.task_context import current_context
from qtasks_core.worker.execution import Plan, TaskExecution
from qtasks_core.worker.executor import TaskExecutor
from qtasks_core.worker.intake import Intake
from qtasks_core.worker.outcomes import OutcomeMaker
from qtasks_core.worker.run import Run
from qtasks_core.worker.runner import Runner
from qtasks_core.worker.worker import DefaultWorker

Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


class _Lifecycle:
    """No plugin decides anything."""

    async def failed(self, execution: Any, error: BaseException, outcome: Outcome) -> Outcome:
        return outcome


class Bench:
    """One run of one task, without a worker around it."""

    def __init__(self, app: QueueTasks, function: Any, **options: Any) -> None:
        definition = app.task(name="t", **options)(function).definition
        self.executor = TaskExecutor(1, app.core.triggers)
        services: Any = None
        outcomes = OutcomeMaker("w", app.config, DEFAULT_SERIALIZER)
        plan = Plan(definition, app.core, self.executor, services)
        lifecycle: Any = _Lifecycle()
        intake = Intake({"t": plan}, outcomes, app.config)
        self.told: list[Outcome | None] = []
        self.runner = Runner(outcomes, intake, lifecycle, lambda: 100.0, lambda _, outcome: self.told.append(outcome))
        delivery = Delivery(Envelope(new_uuid(), "default", b""), token=None)
        self.held = Run(delivery, 99.0)
        self.execution = TaskExecution(plan, delivery, Message("t", b"\x90", b"\x80"), 99.0)

    async def run(self) -> Outcome | None:
        """Run it to its end; return what is told of it, once."""
        await self.executor.start()
        try:
            await self.runner.run(self.held, self.execution)
        finally:
            await self.executor.stop()
        (outcome,) = self.told
        return outcome


def _raising(error: BaseException) -> Any:
    async def task() -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("error", "verdict", "status"),
    [
        (ValueError("no"), Retry, "retry"),
        (Postpone(delay=3), Release, None),
        (TaskCancelError("enough"), Ack, "cancel"),
        (asyncio.CancelledError(), Dead, "error"),
        (SystemExit(1), Dead, "error"),
    ],
)
async def test_what_becomes_of_a_task_that_raises(
    app: QueueTasks, error: BaseException, verdict: type[Any], status: str | None
) -> None:
    """With attempts left: errors are tried again, signals do what they say, what would end a process ends the task."""
    outcome = await Bench(app, _raising(error), retry=1).run()

    assert outcome is not None
    assert verdict is type(outcome.verdict)
    assert status == (outcome.record and outcome.record.status)


@pytest.mark.parametrize("error", [ValueError("no"), Postpone(), asyncio.CancelledError(), TaskCancelError("other")])
async def test_a_task_whose_end_was_asked_for_does_not_run_again(app: QueueTasks, error: BaseException) -> None:
    """However it takes it: the record is cancel, with the reason of who asked."""
    bench = Bench(app, _raising(error), retry=5)
    bench.held.cancel_reason = "asked for"

    outcome = await bench.run()

    assert outcome is not None
    assert outcome.record is not None
    assert ("cancel", "asked for") == (outcome.record.status, outcome.record.reason)
    assert isinstance(outcome.verdict, Ack)


async def test_an_error_without_attempts_left_stays_an_error(app: QueueTasks) -> None:
    """Also of a task whose end was asked for: what went wrong is worth more than that it was to end."""
    bench = Bench(app, _raising(ValueError("while it cleaned up")))
    bench.held.cancel_reason = "asked for"

    outcome = await bench.run()

    assert outcome is not None
    assert outcome.record is not None
    assert "error" == outcome.record.status


@pytest.mark.parametrize(
    ("error", "options", "verdict"),
    [
        (asyncio.CancelledError(), {}, Release),
        (asyncio.CancelledError(), {"ack": "early"}, Dead),
        (TaskCancelError("its own wish"), {}, Ack),
        (ValueError("no"), {}, Dead),
        (ValueError("no"), {"retry": 1}, Retry),
    ],
)
async def test_what_a_stop_cuts_short_is_given_back(
    app: QueueTasks, error: BaseException, options: dict[str, Any], verdict: type[Any]
) -> None:
    """Uncharged, and never as an error; one that is run at most once is dead; other ends are what they are."""
    bench = Bench(app, _raising(error), **options)
    bench.runner.is_draining = True

    outcome = await bench.run()

    assert outcome is not None
    assert verdict is type(outcome.verdict)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), Postpone()])
async def test_what_is_not_ours_any_more_is_not_written(app: QueueTasks, error: BaseException) -> None:
    """Another worker has it."""
    bench = Bench(app, _raising(error), retry=1)
    bench.held.is_lost = True

    assert await bench.run() is None


async def test_a_result_that_cannot_be_stored_is_not_tried_again(running: Running) -> None:
    """The next attempt would return the same: not encoded, or too large."""
    app = QueueTasks("test", "memory://", config=QueueConfig(max_message_bytes=1000))
    ran: list[str] = []

    @app.task(retry=5, retry_backoff=0)
    async def returns(what: str) -> Any:
        ran.append(what)
        return object() if what == "an object" else "x" * 2000

    async with running(app):
        for what in ("an object", "much"):
            with pytest.raises(TaskFailedError):
                await returns.add_task(what).result(timeout=10)

    assert ["an object", "much"] == ran


async def test_arguments_that_do_not_fit_are_not_tried_again(app: QueueTasks, running: Running) -> None:
    """They stay what they are."""

    @app.task(retry=5, retry_backoff=0)
    async def square(x: int) -> int:
        return x * x

    async with running(app):
        task = await app.add_task("square", "three")
        with pytest.raises(TaskFailedError, match="parameter 'x'"):
            await task.result(timeout=10)

    assert 1 == task.attempt


async def test_the_log_tells_a_further_attempt_from_the_last(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning while there is hope, an error when there is none; both with the task's part of the traceback."""

    @app.task(retry=1, retry_backoff=0)
    async def fails() -> None:
        raise ValueError("no")

    with caplog.at_level(logging.WARNING, "qtasks.worker"):
        async with running(app):
            with pytest.raises(TaskFailedError):
                await fails.add_task().result(timeout=10)

    told = [(one.levelname, one.getMessage().partition(" failed")[2]) for one in caplog.records if one.exc_info]
    assert [("WARNING", " in attempt 1 and is tried again in 0.0 s"), ("ERROR", "")] == told
    assert 2 == caplog.text.count("ValueError: no")
    assert "worker/runner.py" not in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_task_may_decode_its_result(app: QueueTasks, running: Running, *, is_async: bool) -> None:
    """What decode makes of it is stored; where that fails the task fails."""

    def halved(value: int) -> float:
        if value < 0:
            raise ValueError("negative")
        return value / 2

    async def halved_async(value: int) -> float:
        await asyncio.sleep(0)
        return halved(value)

    @app.task(decode=halved_async if is_async else halved)
    def number(x: int) -> int:
        return x

    async with running(app):
        assert 1.5 == await number.add_task(3).result(timeout=10)
        with pytest.raises(TaskFailedError, match="ValueError: negative"):
            await number.add_task(-1).result(timeout=10)


async def test_a_stop_asks_threads_to_end(app: QueueTasks, running: Running) -> None:
    """When its time is over: the task is given back, and one that looks at its context ends by itself."""
    began, told = threading.Event(), threading.Event()

    @app.task
    def patient() -> None:
        began.set()
        while not current_context().cancelled:
            threading.Event().wait(0.001)
        told.set()

    async with running(app, shutdown_timeout=0.05):
        task = await patient.add_task()
        while not began.is_set():
            await asyncio.sleep(0.001)
    async with asyncio.timeout(10):
        while not told.is_set():
            await asyncio.sleep(0.001)

    assert ("new", 1) == ((await task.refresh()).status, task.attempt)
    await app.stop()


async def test_a_cancel_before_the_first_step_ends_the_task(app: QueueTasks, running: Running) -> None:
    """It arrives between the delivery and its run: nothing runs, the record is written, the slot is free again."""
    ran: list[int] = []

    @app.task
    async def work(number: int) -> int:
        ran.append(number)
        return number

    async with running(app, concurrency=2) as worker:
        begin = worker._begin

        def begin_and_cancel(run: Run, now: float) -> None:
            begin(run, now)
            envelope = run.delivery.envelope
            if envelope is not None and envelope.priority:
                worker.cancel(envelope.uuid, "at once")
                worker.cancel(envelope.uuid, "twice")

        worker._begin = begin_and_cancel  # type: ignore[method-assign]  # that is the test
        for number in range(4):
            task = await work.with_options(priority=1).add_task(number)
            with pytest.raises(TaskCancelledError):
                await task.result(timeout=10)
        assert 7 == await work.add_task(7).result(timeout=10)

    assert [7] == ran


async def test_a_cancel_during_the_drain_is_a_cancel(app: QueueTasks, running: Running) -> None:
    """What was asked for goes before the stop: the task is not given back."""
    began = asyncio.Event()

    @app.task
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    async with running(app) as worker:
        task = await endless.add_task()
        await began.wait()
        draining = asyncio.ensure_future(worker.drain(5.0))
        await asyncio.sleep(0)
        worker.cancel(task.uuid, "asked for")
        await draining
        with pytest.raises(TaskCancelledError, match="asked for"):
            await task.result(timeout=10)
