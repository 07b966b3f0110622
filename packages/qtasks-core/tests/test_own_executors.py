"""Executors of a user's own: each step can be overridden, for one task or for all of an app."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.errors import ConfigError, TaskFailedError
from qtasks_core.triggers import Triggers
from qtasks_core.worker.executor import TaskExecutor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Execution
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


class Noting(TaskExecutor):
    """Writes down which steps are taken."""

    def __init__(self, threads: int, triggers: Triggers | None = None) -> None:
        super().__init__(threads, triggers)
        self.threads = threads
        self.steps: list[str] = []
        self.life: list[str] = []

    async def start(self) -> None:
        self.life.append("start")
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        self.life.append("stop")

    async def run(self, execution: Execution) -> Any:
        self.steps.append(f"run {execution.task_name}")
        return await super().run(execution)

    async def call(self, execution: Execution) -> Any:
        self.steps.append(f"call {execution.kind}")
        return await super().call(execution)

    async def iterate(self, execution: Execution) -> Any:
        self.steps.append("iterate")
        return await super().iterate(execution)

    async def in_thread(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.steps.append("in_thread")
        return await super().in_thread(function, args, kwargs)


def plain(x: int) -> int:
    return x


async def awaited(x: int) -> int:
    return x


def generating(x: int) -> Iterator[int]:
    yield x


async def generating_async(x: int) -> AsyncIterator[int]:
    yield x


STEPS = [
    (plain, 1, ["run plain", "call thread", "in_thread"]),
    (awaited, 1, ["run awaited", "call async"]),
    (generating, [1], ["run generating", "call generator", "iterate", "in_thread"]),
    (generating_async, [1], ["run generating_async", "call async generator", "iterate"]),
]


@pytest.mark.parametrize(("function", "result", "steps"), STEPS)
async def test_each_step_can_be_overridden_for_a_task(
    app: QueueTasks, running: Running, function: Any, result: Any, steps: list[str]
) -> None:
    """The steps of its kind, in their order; other tasks of the app keep the default."""
    executor = Noting(2)
    task, other = app.task(executor=executor)(function), app.task(name="other")(plain)
    async with running(app):
        assert result == await task.add_task(1).result(timeout=5)
        assert 2 == await other.add_task(2).result(timeout=5)

    assert steps == executor.steps
    assert ["start", "stop"] == executor.life


@pytest.mark.parametrize(("function", "result", "steps"), STEPS)
async def test_each_step_can_be_overridden_for_an_app(
    running: Running, function: Any, result: Any, steps: list[str]
) -> None:
    """`task_executor=` runs each task that names no executor of its own."""
    executor, own = Noting(2), Noting(2)
    app = QueueTasks("own", "memory://", task_executor=executor)
    task, other = app.task(function), app.task(name="other", executor=own)(plain)
    async with running(app):
        assert result == await task.add_task(1).result(timeout=5)
        assert 2 == await other.add_task(2).result(timeout=5)

    assert steps == executor.steps
    assert ["run other", "call thread", "in_thread"] == own.steps


async def test_a_class_is_made_once_for_the_worker(running: Running) -> None:
    """With its concurrency; all tasks that name it share it, and so does the app."""
    made: list[Noting] = []

    class Kept(Noting):
        def __init__(self, threads: int, triggers: Triggers | None = None) -> None:
            super().__init__(threads, triggers)
            made.append(self)

    app = QueueTasks("own", "memory://", task_executor=Kept)
    tasks = [app.task(executor=Kept, name="one")(plain), app.task(name="two")(plain)]
    async with running(app, concurrency=7):
        assert [0, 1] == [await task.add_task(x).result(timeout=5) for x, task in enumerate(tasks)]

    (executor,) = made
    assert 7 == executor.threads
    assert ["run one", "call thread", "in_thread", "run two", "call thread", "in_thread"] == executor.steps
    assert app.core.triggers is executor._triggers


async def test_an_instance_may_have_few_threads_of_its_own(app: QueueTasks, running: Running) -> None:
    """So that what is slow does not take the threads of all others."""
    executor, go_on, lock = TaskExecutor(2), threading.Event(), threading.Lock()
    at_once: list[int] = []
    now = 0

    def slow() -> None:
        nonlocal now
        with lock:
            now += 1
            at_once.append(now)
        go_on.wait(10)
        with lock:
            now -= 1

    task, quick = app.task(executor=executor)(slow), app.task(plain)
    async with running(app, concurrency=8):
        tasks = [await task.add_task() for _ in range(5)]
        assert 1 == await quick.add_task(1).result(timeout=5)
        go_on.set()
        await asyncio.gather(*(one.result(timeout=5) for one in tasks))

    assert 5 == len(at_once)
    assert 2 >= max(at_once)


async def test_an_override_may_replace_the_result(app: QueueTasks, running: Running) -> None:
    """Or raise: what it does is what the task does."""

    class Guarding(TaskExecutor):
        async def call(self, execution: Execution) -> Any:
            if execution.args[0] < 0:
                raise PermissionError("not below zero")
            return 10 * await super().call(execution)

    task = app.task(executor=Guarding)(plain)
    async with running(app):
        assert 30 == await task.add_task(3).result(timeout=5)
        with pytest.raises(TaskFailedError, match="PermissionError: not below zero"):
            await task.add_task(-1).result(timeout=5)


@pytest.mark.parametrize("wanted", [object(), dict, "process", len])
async def test_what_is_no_executor_is_refused(app: QueueTasks, running: Running, wanted: Any) -> None:
    """When the worker starts; named by the task."""
    app.task(executor=wanted)(plain)
    with pytest.raises(ConfigError, match="task 'plain': executor: expected a TaskExecutor or its class, got "):
        async with running(app):
            pass
    await app.stop()


async def test_an_executor_that_cannot_start_stops_the_others(app: QueueTasks, running: Running) -> None:
    """What was started is stopped, and the worker does not start."""

    class Broken(TaskExecutor):
        async def start(self) -> None:
            raise RuntimeError("no")

    first = Noting(1)
    app.task(executor=first)(plain)
    app.task(executor=Broken)(awaited)
    with pytest.raises(RuntimeError, match=r"^no$"):
        async with running(app):
            pass
    await app.stop()

    assert ["start", "stop"] == first.life
