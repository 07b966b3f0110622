"""Dependencies of the task's scope: each run has its own, and closes it whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import TaskCancelledError, TaskFailedError
from qtasks_depends import Depends
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import AtWork, Connections

TASKS = 1_000


async def test_each_task_has_its_own_whatever_happens_to_it(connections: Connections) -> None:
    """1,000 opened and 1,000 closed, where half of the tasks fail, are cancelled or take too long."""
    app = QueueTasks("depends", "memory://", config=QueueConfig(concurrency=100))
    ends = random.Random(8).choices(["return", "return", "return", "fail", "cancel", "time out"], k=TASKS)

    @app.task(timeout=20.0)
    async def use(end: str, db: int = Depends(connections.get)) -> int:
        if end == "fail":
            raise ValueError(db)
        if end != "return":
            await asyncio.Event().wait()
        return db

    async with asyncio.timeout(50), app.worker():
        found = []
        for end in ends:
            one = use.with_options(timeout=0.5) if end == "time out" else use
            found.append(await one.add_task(end))
        waiting = [task for task, end in zip(found, ends, strict=True) if end == "cancel"]
        while any([(await app.get(task.uuid)).status in {"new", "process"} for task in waiting]):  # awaited
            await asyncio.gather(*(task.cancel() for task in waiting))
            await asyncio.sleep(0.05)
        results = await asyncio.gather(*(task.result() for task in found), return_exceptions=True)

    ran = connections.opened
    assert ran == connections.closed
    never = sum(1 for end in ends if end == "cancel")
    assert TASKS - never <= ran <= TASKS  # one that was cancelled before it ran has opened nothing
    kinds = {end: {type(result) for result, one in zip(results, ends, strict=True) if one == end} for end in set(ends)}
    assert {
        "return": {int},
        "fail": {TaskFailedError},
        "time out": {TaskFailedError},
        "cancel": {TaskCancelledError},
    } == kinds


@pytest.mark.parametrize("end", ["return", "fail", "cancel", "time out"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_one_is_closed_however_its_run_ends(
    app: QueueTasks, at_work: AtWork, connections: Connections, end: str, is_async: bool
) -> None:
    """Also a sync one, and also in the thread of a `def` whose time is over, which closes it when it is done."""
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def on_loop(db: int = Depends(connections.get_sync)) -> int:
        began.set()
        if end == "fail":
            raise ValueError(db)
        if end != "return":
            await asyncio.Event().wait()
        return db

    def in_thread(db: int = Depends(connections.get_sync)) -> int:
        loop.call_soon_threadsafe(began.set)
        if end == "fail":
            raise ValueError(db)
        if end != "return":
            go_on.wait(20)
        return db

    options: Any = {"timeout": 1.0} if end == "time out" else {}
    task = app.task(on_loop, **options) if is_async else app.task(in_thread, **options)
    async with at_work(app):
        added = await task.add_task()
        await began.wait()
        if end == "cancel":
            await added.cancel()
        if end == "time out" and not is_async:
            with pytest.raises(TaskFailedError):
                await added.result()
            assert (1, 0) == (connections.opened, connections.closed)
        go_on.set()
        with contextlib.suppress(TaskFailedError, TaskCancelledError):
            await added.result()
        await eventually(lambda: connections.closed == 1, 20, "it is closed")
    assert (1, 1) == (connections.opened, connections.closed)


async def test_an_error_in_closing_does_not_stop_the_others(app: QueueTasks, at_work: AtWork, caplog: Any) -> None:
    """It is logged; the task ends as it did."""
    closed: list[str] = []

    async def first() -> AsyncIterator[str]:
        yield "first"
        closed.append("first")

    def second(_: str = Depends(first)) -> Iterator[str]:
        yield "second"
        closed.append("second")
        raise OSError("the second")

    async def third(_: str = Depends(second)) -> AsyncIterator[str]:
        yield "third"
        closed.append("third")
        raise OSError("the third")

    async def twice(_: str = Depends(third)) -> AsyncIterator[str]:
        yield "twice"
        yield "again"

    @app.task
    async def use(found: str = Depends(twice)) -> str:
        return found

    async with at_work(app):
        assert "twice" == await (await use.add_task()).result()
    assert ["third", "second", "first"] == closed
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["twice", "third", "second"] == [record.getMessage().split()[2] for record in errors]
    assert "it yielded twice: expected one `yield`, with its value" in caplog.text
    assert "OSError: the third" in caplog.text


@pytest.mark.parametrize("scope", ["task", "worker"])
async def test_a_generator_has_to_yield(app: QueueTasks, at_work: AtWork, scope: Any) -> None:
    """The error names it and says what was expected."""

    async def nothing() -> AsyncIterator[str]:
        if app.tasks == {}:
            yield "never"

    def nothing_either() -> Iterator[str]:
        yield from ()

    @app.task
    async def one(found: str = Depends(nothing, scope=scope)) -> str:
        return found

    @app.task
    async def two(found: str = Depends(nothing_either, scope=scope)) -> str:
        return found

    @app.task
    def three(found: str = Depends(nothing_either, scope=scope)) -> str:
        return found

    async with at_work(app):
        for task, name in ((one, "nothing"), (two, "nothing_either"), (three, "nothing_either")):
            expected = rf"the dependency {name} \(scope '{scope}'\) yielded nothing: expected one `yield`"
            with pytest.raises(TaskFailedError, match=expected):
                await (await task.add_task()).result()


async def test_what_opened_before_an_error_is_closed(
    app: QueueTasks, at_work: AtWork, connections: Connections
) -> None:
    """The task does not run."""

    async def broken(_: int = Depends(connections.get)) -> str:
        raise ConnectionError("no server")

    @app.task
    async def use(db: int = Depends(connections.get), found: str = Depends(broken)) -> None:
        raise AssertionError

    async with at_work(app):
        with pytest.raises(TaskFailedError, match="ConnectionError: no server"):
            await (await use.add_task()).result()
    assert (1, 1) == (connections.opened, connections.closed)


async def test_a_sync_one_that_opens_when_its_task_is_cancelled_is_closed(
    app: QueueTasks, at_work: AtWork, connections: Connections
) -> None:
    """Its thread cannot be stopped: it is closed when it is open, and the worker's stop waits for that."""
    opening, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> Iterator[int]:
        loop.call_soon_threadsafe(opening.set)
        go_on.wait(20)
        yield from connections.get_sync()

    @app.task
    async def use(db: int = Depends(slow)) -> None:
        raise AssertionError

    async with at_work(app):
        task = await use.add_task()
        await opening.wait()
        await task.cancel()
        with pytest.raises(TaskCancelledError):
            await task.result()
        assert (0, 0) == (connections.opened, connections.closed)
        threading.Timer(0.2, go_on.set).start()
    assert (1, 1) == (connections.opened, connections.closed)


async def test_a_thread_whose_time_is_over_does_not_begin_its_task(app: QueueTasks, at_work: AtWork) -> None:
    """It was opening dependencies when nobody waited any more."""
    ran: list[str] = []
    opened, closed = threading.Event(), threading.Event()

    def slow() -> Iterator[None]:
        time.sleep(1.5)
        opened.set()
        yield
        closed.set()

    @app.task(timeout=0.8)
    def use(_: None = Depends(slow)) -> None:
        ran.append("ran")

    async with at_work(app):
        with pytest.raises(TaskFailedError, match="timeout"):
            await (await use.add_task()).result()
        await eventually(opened.is_set, 20, "it is open")
    assert [] == ran


async def test_a_retry_opens_anew(app: QueueTasks, at_work: AtWork, connections: Connections) -> None:
    """Each run has its own."""

    @app.task(retry=2, retry_backoff=0.01)
    async def use(db: int = Depends(connections.get)) -> int:
        if db < 3:
            raise ValueError(db)
        return db

    async with at_work(app):
        assert 3 == await (await use.add_task()).result()
    assert (3, 3) == (connections.opened, connections.closed)
