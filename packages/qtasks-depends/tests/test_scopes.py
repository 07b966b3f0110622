"""How long dependencies live: opened once per scope, closed in reverse, whatever happens to tasks and components."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import TaskCancelledError, TaskFailedError
from qtasks_depends import DependencyOpenError, Depends
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from conftest import AtWork

TASKS = 1_000


class Connections:
    """Counts what is opened and closed."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.most = 0

    async def get(self) -> AsyncIterator[int]:
        await asyncio.sleep(0)
        self.opened += 1
        self.most = max(self.most, self.opened - self.closed)
        try:
            yield self.opened
        finally:
            await asyncio.sleep(0)
            self.closed += 1

    def get_sync(self) -> Iterator[int]:
        self.opened += 1
        try:
            yield self.opened
        finally:
            self.closed += 1


@pytest.fixture
def connections() -> Connections:
    """Return what counts."""
    return Connections()


# ---------------------------------------------------------------- the worker's


async def test_a_worker_opens_one_for_all_its_tasks(app: QueueTasks, at_work: AtWork, connections: Connections) -> None:
    """1,000 tasks, of which many ask at once; it is closed when the worker stops."""

    @app.task
    async def use(db: int = Depends(connections.get, scope="worker")) -> int:
        await asyncio.sleep(0)
        return db

    async with at_work(app):
        tasks = [await use.add_task() for _ in range(TASKS)]
        assert {1} == {await task.result() for task in tasks}
        assert (1, 0) == (connections.opened, connections.closed)
    assert (1, 1) == (connections.opened, connections.closed)
    async with at_work(app):
        assert 2 == await (await use.add_task()).result()
    assert (2, 2) == (connections.opened, connections.closed)


async def test_each_worker_has_its_own(connections: Connections) -> None:
    """Two on one loop, one of which stops earlier."""
    app = QueueTasks("depends", "memory://", config=QueueConfig(concurrency=2))

    @app.task
    async def use(db: int = Depends(connections.get, scope="worker")) -> int:
        await asyncio.sleep(0.01)
        return db

    async with asyncio.timeout(50), app.worker(name="one"):
        async with app.worker(name="two"):
            tasks = [await use.add_task() for _ in range(20)]
            assert {1, 2} == {await task.result() for task in tasks}
        assert (2, 1) == (connections.opened, connections.closed)
        assert await (await use.add_task()).result() in {1, 2}
    assert (2, 2) == (connections.opened, connections.closed)


async def test_scopes_end_from_the_narrowest_to_the_widest(app: QueueTasks, at_work: AtWork) -> None:
    """As their components stop; within one in reverse order of opening."""
    log: list[str] = []

    def named(name: str, *below: Any) -> Any:
        async def get(below: Any = None) -> AsyncIterator[str]:
            log.append(f"open {name}")
            yield name
            log.append(f"close {name}")

        if below:
            get.__defaults__ = below
        return get

    config = named("config")
    storage = named("storage", Depends(config, scope="global_config"))
    broker = named("broker", Depends(storage, scope="storage"))
    one = named("one", Depends(broker, scope="broker"))
    two = named("two", Depends(one, scope="worker"))
    own = named("own", Depends(two, scope="worker"))

    @app.task
    async def task(found: str = Depends(own)) -> str:
        return found

    async with at_work(app):
        assert "own" == await (await task.add_task()).result()
    names = ["config", "storage", "broker", "one", "two", "own"]
    assert [f"open {name}" for name in names] + [f"close {name}" for name in reversed(names)] == log


async def test_what_did_not_open_is_tried_again(app: QueueTasks, at_work: AtWork) -> None:
    """All who asked at once fail with its error, and its own traceback; the next one opens it."""
    attempts: list[int] = []
    gate = asyncio.Event()

    async def unsure() -> AsyncIterator[str]:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            await gate.wait()
            raise ConnectionError("the first time")
        yield "open"

    @app.task
    async def use(db: str = Depends(unsure, scope="worker")) -> str:
        return db

    async with at_work(app):
        tasks = [await use.add_task() for _ in range(10)]
        await eventually(lambda: attempts == [0], 20, "it is being opened")
        await asyncio.sleep(0.05)
        gate.set()
        for task in tasks:
            with pytest.raises(TaskFailedError, match="ConnectionError: the first time") as caught:
                await task.result()
            assert "in unsure" in str(caught.value.traceback)
            assert 40 > str(caught.value.traceback).count("\n")
        assert "open" == await (await use.add_task()).result()
    assert [0, 1] == attempts


async def test_who_is_cancelled_does_not_cancel_the_opening_for_others(app: QueueTasks, at_work: AtWork) -> None:
    """It belongs to the worker."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        asked.set()
        await gate.wait()
        yield "open"

    @app.task
    async def use(db: str = Depends(slow, scope="worker")) -> str:
        return db

    async with at_work(app):
        first = await use.add_task()
        await asked.wait()
        second = await use.add_task()
        await first.cancel()
        with pytest.raises(TaskCancelledError):
            await first.result()
        gate.set()
        assert "open" == await second.result()


async def test_it_lives_in_a_task_of_its_own(app: QueueTasks, at_work: AtWork) -> None:
    """So that it may hold a task group; and with the worker's contextvars, not those of the run that asked first."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="of the worker")
    seen: list[Any] = []

    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        seen.append((variable.get(), asyncio.current_task()))
        async with asyncio.TaskGroup() as tasks:
            yield tasks
        seen.append((variable.get(), asyncio.current_task()))

    async def wait() -> None:
        await asyncio.sleep(0)

    @app.task
    async def use(tasks: asyncio.TaskGroup = Depends(group, scope="worker")) -> None:
        await tasks.create_task(wait())

    async def set_and_use(execution: Any) -> None:
        variable.set("of a run")

    use_too = app.task(name="too", middlewares_before=[set_and_use])(use.definition.function)
    async with at_work(app):
        await (await use_too.add_task()).result()
        await (await use.add_task()).result()
    assert 2 == len(seen)
    assert seen[0] == seen[1]
    assert "of the worker" == seen[0][0]


async def test_one_that_ends_by_itself_is_opened_anew(app: QueueTasks, at_work: AtWork, caplog: Any) -> None:
    """As a task group does in which a task fails."""
    opened: list[int] = []

    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        opened.append(len(opened))
        async with asyncio.TaskGroup() as tasks:
            yield tasks

    async def fail() -> None:
        raise ValueError("in the background")

    @app.task
    async def use(fails: bool, tasks: asyncio.TaskGroup = Depends(group, scope="worker")) -> None:
        if fails:
            tasks.create_task(fail())

    async with at_work(app):
        await (await use.add_task(True)).result()
        await eventually(lambda: "ended by itself" in caplog.text, 20, "it is told")
        await (await use.add_task(False)).result()
    assert [0, 1] == opened
    assert "the dependency group (scope 'worker') ended by itself; who asks next opens it anew" in caplog.text


async def test_what_does_not_close_is_left(caplog: Any, at_work: AtWork) -> None:
    """After the shutdown timeout, with an error in the log; the others are closed."""
    app = QueueTasks("depends", "memory://", config=QueueConfig(shutdown_timeout=0.2))
    closed: list[str] = []

    async def first() -> AsyncIterator[None]:
        yield
        closed.append("first")

    async def stuck(first: None = Depends(first, scope="worker")) -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    @app.task
    async def use(db: None = Depends(stuck, scope="worker")) -> None: ...

    async with at_work(app):
        await (await use.add_task()).result()
    assert ["first"] == closed
    assert "the dependency stuck (scope 'worker') did not close within 0.2 s; it is left" in caplog.text


# ---------------------------------------------------------------- the task's


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
            one = use.with_options(timeout=0.05) if end == "time out" else use
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

    options: Any = {"timeout": 0.2} if end == "time out" else {}
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
        time.sleep(0.4)
        opened.set()
        yield
        closed.set()

    @app.task(timeout=0.1)
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


async def test_nothing_opens_when_the_worker_has_stopped(app: QueueTasks, connections: Connections) -> None:
    """Who asks too late is told."""
    injector: list[Any] = []

    @app.task
    async def use(db: int = Depends(connections.get, scope="worker")) -> int:
        return db

    async with asyncio.timeout(50), app.worker():
        await (await use.add_task()).result()
        injector.append(use.definition.provided[0].pending)
        worker = app.core.engine().worker

    class Late:
        state: dict[str, Any] = {}  # noqa: RUF012  # a fake

        def component(self, name: str) -> Any:
            return worker

    with pytest.raises(DependencyOpenError, match="scope 'worker': the app has no worker that is started"):
        await injector[0].injector.provide(Late(), [])
