"""Errors in middlewares and around them: whose they are, who hears of them, and what the traceback shows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from middlewares.steps import Noting, Refusing, job
from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import Retry, TaskCancelledError, TaskFailedError
from qtasks_core.middlewares import TaskMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Execution
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("step", ["before", "around", "after"])
async def test_one_that_raises_fails_its_task(app: QueueTasks, running: Running, step: str) -> None:
    """With a traceback that begins in the middleware; those outside of it hear of it, those inside do not."""
    notes: list[str] = []
    app.add_middleware(Noting("outer", notes))
    task = app.task(middlewares=[Refusing(step), Noting("inner", notes)])(job)
    async with running(app):
        with pytest.raises(TaskFailedError, match=f"PermissionError: no {step}") as caught:
            await task.add_task().result(timeout=5)
        ended = await app.get(caught.value.uuid)  # type: ignore[arg-type]  # it is known

    lines = caught.value.traceback.splitlines()
    assert "error" == ended.status
    assert "tests/middlewares/steps.py" in lines[1]
    assert "in refuse" in lines[1] or "in around" in lines[1]
    assert any("in refuse" in line for line in lines)
    assert "outer.failed PermissionError" in notes
    assert "inner.failed PermissionError" not in notes


async def test_a_function_that_raises_fails_its_task(app: QueueTasks, running: Running) -> None:
    """Before the function it never runs; after it its result is not kept."""
    ran: list[int] = []

    def refuses(execution: Execution, *result: Any) -> None:
        raise PermissionError("not today")

    def notes(x: int) -> None:
        ran.append(x)

    before = app.task(name="before", middlewares_before=[refuses])(notes)
    after = app.task(name="after", middlewares_after=[refuses])(notes)
    async with running(app):
        for number, task in enumerate((before, after)):
            with pytest.raises(TaskFailedError, match="PermissionError: not today") as caught:
                await task.add_task(number).result(timeout=5)
            assert "in refuses" in caught.value.traceback

    assert [1] == ran


async def test_an_error_in_the_function_shows_the_middlewares_around_it(app: QueueTasks, running: Running) -> None:
    """The traceback leads through them to the function."""

    class Around(TaskMiddleware):
        async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
            return await call()

    @app.task(middlewares=[Around])
    async def fails() -> None:
        raise LookupError("nothing")

    async with running(app):
        with pytest.raises(TaskFailedError) as caught:
            await fails.add_task().result(timeout=5)

    text = caught.value.traceback
    assert 0 < text.index("in around") < text.index("in fails")


async def test_what_is_raised_over_an_error_takes_its_place(app: QueueTasks, running: Running) -> None:
    """The traceback tells both."""

    @app.task(middlewares=[Refusing("failed")])
    def fails() -> None:
        raise LookupError("nothing")

    async with running(app):
        with pytest.raises(TaskFailedError, match="PermissionError: no failed") as caught:
            await fails.add_task().result(timeout=5)

    assert "LookupError: nothing" in caught.value.traceback


async def test_a_failure_of_a_middleware_is_retried_like_any_other(running: Running) -> None:
    """As often as the task says; a middleware may ask for it, too."""
    app = QueueTasks("test", "memory://", config=QueueConfig(retry_backoff=0.0))
    attempts: list[int] = []

    def sometimes(execution: Execution) -> None:
        attempts.append(execution.attempt)
        if execution.attempt == 1:
            raise PermissionError
        if execution.attempt == 2:
            raise Retry(delay=0.0)

    task = app.task(retry=2, middlewares_before=[sometimes])(job)
    async with running(app):
        assert 5 == await task.add_task(5).result(timeout=5)

    assert [1, 2, 3] == attempts


async def test_a_cancel_is_told_and_stays_a_cancel(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A middleware that fails when it is told of one is logged; the task is cancelled all the same."""
    notes: list[str] = []
    runs = asyncio.Event()
    app.add_middleware(Noting("a", notes))

    @app.task(middlewares=[Refusing("failed")])
    async def forever() -> None:
        runs.set()
        await asyncio.Event().wait()

    async with running(app):
        task = await forever.add_task()
        await asyncio.wait_for(runs.wait(), 5)
        assert await task.cancel("enough")
        with pytest.raises(TaskCancelledError, match="enough"):
            await task.result(timeout=5)

    assert "a.failed CancelledError" in notes
    assert ["task forever: a middleware that was told of its cancel failed"] == [
        one.getMessage() for one in caplog.records if one.levelname == "ERROR"
    ]


async def test_a_timeout_covers_them(app: QueueTasks, running: Running) -> None:
    """The limit of a run is for the function and what goes around it."""
    notes: list[str] = []

    async def waits(execution: Execution) -> None:
        await asyncio.Event().wait()

    task = app.task(timeout=0.05, middlewares=[Noting("a", notes)], middlewares_before=[waits])(job)
    async with running(app):
        with pytest.raises(TaskFailedError, match="TaskTimeoutError"):
            await task.add_task().result(timeout=5)

    assert "a.failed CancelledError" in notes
