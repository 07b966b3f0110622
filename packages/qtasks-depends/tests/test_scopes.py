"""How long dependencies live: opened once per scope, closed in reverse, whatever happens to tasks and components."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import TaskCancelledError, TaskFailedError
from qtasks_depends import DependencyOpenError, Depends
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import AtWork, Connections

TASKS = 1_000


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
    asked: list[object] = []
    gate = asyncio.Event()

    async def unsure() -> AsyncIterator[str]:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            await gate.wait()
            raise ConnectionError("the first time")
        yield "open"

    @app.task(middlewares_before=[asked.append])
    async def use(db: str = Depends(unsure, scope="worker")) -> str:
        return db

    async with at_work(app):
        tasks = [await use.add_task() for _ in range(10)]
        await eventually(lambda: attempts == [0] and len(asked) == len(tasks), 20, "all ask for it")
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
