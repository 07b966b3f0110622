"""Middlewares, events and contexts through the façade, in memory and on a file, in both faces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import qtasks
import qtasks.asyncio
from qtasks.exceptions import TaskFailedError
from qtasks.middlewares import Draft, Execution, TaskMiddleware


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a place of its own for each test."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db"


class Whole(TaskMiddleware):
    """Has every step, and notes that it was called."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def add(self, draft: Draft) -> None:
        self.notes.append("add")
        draft.headers = {"trace": "1-2-3"}

    def before(self, execution: Execution) -> None:
        self.notes.append(f"before {execution.message.headers['trace']}")

    async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
        self.notes.append("around")
        return await call()

    def after(self, execution: Execution, result: int) -> int:
        self.notes.append("after")
        return result + 1

    async def failed(self, execution: Execution, error: BaseException) -> None:
        self.notes.append(f"failed {error}")

    def result(self, task: Any, value: int) -> int:
        self.notes.append("result")
        return value * 10


def divide(a: int, b: int) -> int:
    return a // b


def test_a_middleware_of_the_blocking_face(url: str) -> None:
    """Each step is called once, at its place; a failure is told and has its traceback."""
    app, whole, ended = qtasks.QueueTasks("blocking", url), Whole(), []
    app.add_middleware(whole)
    task = app.task(divide)

    @app.events.on.task_stopping
    def note(execution: Execution) -> None:
        ended.append(execution.task_name)

    with app.worker():
        assert 50 == task.add_task(8, 2).result(timeout=10)
        with pytest.raises(TaskFailedError) as caught:
            task.add_task(1, 0).result(timeout=10)
    app.stop()

    ok = ["add", "before 1-2-3", "around", "after", "result"]
    failed = ["add", "before 1-2-3", "around", "failed integer division or modulo by zero"]
    assert [*ok, *failed] == whole.notes
    assert ["divide", "divide"] == ended
    assert "in around" in caught.value.traceback


async def test_a_middleware_of_the_awaitable_face(url: str) -> None:
    """The same, for one task of a router."""
    app, whole = qtasks.asyncio.QueueTasks("awaitable", url), Whole()
    router = qtasks.asyncio.Router("math")
    task = router.task(middlewares=[whole])(divide)
    app.include_router(router)
    async with app, app.worker():
        assert 50 == await task.add_task(8, 2).result(timeout=10)
        assert [50, 30] == await qtasks.asyncio.gather(*await task.add_many([(8, 2), {"a": 4, "b": 2}]), timeout=10)

    assert 3 == whole.notes.count("add") == whole.notes.count("after") == whole.notes.count("result")
