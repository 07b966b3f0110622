"""Middlewares on the side of the caller: around adding, and around results."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from middlewares.steps import Refusing, job
from qtasks_core import blocking
from qtasks_core.aio import QueueTasks
from qtasks_core.errors import PluginError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.options import Draft
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


# ---------------------------------------------------------------- adding


class Signing(TaskMiddleware):
    """Changes drafts, each by its own letter."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    async def add(self, draft: Draft) -> None:
        await asyncio.sleep(0)
        draft.headers = {"by": draft.headers.get("by", "") + self.letter}


async def test_they_change_what_is_added(app: QueueTasks, running: Running) -> None:
    """The app's first, then the task's, for calls by name too; where the code is not known, only the app's."""
    app.add_middleware(Signing("a"))
    app.add_middleware(Signing("b"))

    @app.task(middlewares=[Signing("c")], echo=True)
    async def signed(self: Any) -> str:
        return str(self.ctx.headers["by"])

    async with running(app):
        assert "abc" == await signed.add_task().result(timeout=5)
        assert "abc" == await app.add_task("signed").result(timeout=5)
        assert ["abc", "abc"] == [await one.result(timeout=5) for one in await signed.add_many([(), ()])]
        unknown = await app.add_task("unknown")

    assert "ab" == unknown_headers(unknown)


def unknown_headers(task: Any) -> str:
    from qtasks_core.wire import unpack_message

    return unpack_message(task.record.body).headers["by"]


async def test_they_may_send_another_draft(app: QueueTasks, running: Running) -> None:
    """Of the same uuid: here with other arguments, on another queue."""
    import msgspec

    class Doubling(TaskMiddleware):
        def add(self, draft: Draft) -> Draft:
            return msgspec.structs.replace(draft, args=(2 * draft.args[0],), priority=3)

    task = app.task(middlewares=[Doubling])(job)
    async with running(app):
        added = await task.add_task(4)
        assert (8, 3, (8,)) == (await added.result(timeout=5), added.priority, added.args)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("draft", r"middleware .*: add: expected a draft or None, got str"),
        ("uuid", r"middleware .*: add changed the uuid from .* to .*"),
    ],
)
async def test_what_is_no_draft_of_that_task_is_refused(app: QueueTasks, answer: str, message: str) -> None:
    """The error names the middleware."""

    class Wrong(TaskMiddleware):
        def add(self, draft: Draft) -> Any:
            if answer == "uuid":
                draft.uuid = new_uuid()
                return draft
            return answer

    app.add_middleware(Wrong)
    with pytest.raises(PluginError, match=message):
        await app.add_task("anything")
    await app.stop()


async def test_one_that_raises_fails_that_call_only(app: QueueTasks) -> None:
    """Nothing is sent; of many, the others are; the traceback shows the middleware."""

    class Choosy(TaskMiddleware):
        async def add(self, draft: Draft) -> None:
            if draft.args[0] < 0:
                raise PermissionError("negative")

    task = app.task(middlewares=[Choosy()])(job)
    with pytest.raises(PermissionError, match="negative") as caught:
        await task.add_task(-1)
    with pytest.raises(ExceptionGroup, match="1 of 3") as group:
        await task.add_many([(1,), (-1,), (2,)])

    assert "add" in [entry.name for entry in caught.traceback]
    assert [True, False, True] == [one is not None for one in group.value.tasks]  # type: ignore[attr-defined]
    await app.stop()


# ---------------------------------------------------------------- results


class Opening(TaskMiddleware):
    """Changes results, each by its own letter."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    async def result(self, task: Any, value: Any) -> Any:
        await asyncio.sleep(0)
        return f"{value}{self.letter}" if task.status == "success" else "never"


async def test_they_change_what_result_returns(app: QueueTasks, running: Running) -> None:
    """The task's first, then the app's; what is stored stays as it is."""
    app.add_middleware(Opening("a"))
    app.add_middleware(Opening("b"))

    @app.task(middlewares=[Opening("c")])
    async def text() -> str:
        return "-"

    async with running(app):
        task = await text.add_task()
        assert "-cba" == await task.result(timeout=5)
        assert "-cba" == await (await app.get(task.uuid)).result(timeout=5)
        assert "-" == task.returning


async def test_one_that_raises_fails_the_call_of_result(app: QueueTasks, running: Running) -> None:
    """The task has succeeded, and stays so."""
    task = app.task(middlewares=[Refusing("result")])(job)
    async with running(app):
        added = await task.add_task(1)
        with pytest.raises(PermissionError, match="no result"):
            await added.result(timeout=5)
        assert "success" == (await added.refresh()).status


def test_the_blocking_face_has_them_too() -> None:
    """Both steps of the client's side run on the loop, where they may wait; the handle knows how its task ended."""
    app = blocking.QueueTasks("test", "memory://")
    app.add_middleware(Signing("a"))
    app.add_middleware(Opening("b"))

    @app.task(echo=True)
    def signed(self: Any) -> str:
        return str(self.ctx.headers["by"])

    worker = threading.Thread(target=app.run_forever)
    worker.start()
    try:
        task = signed.add_task()
        assert "ab" == task.result(timeout=5)
        assert "success" == task.status
    finally:
        app.stop()
        worker.join()
