"""`app.events.on`: which function is told of what, with which arguments, in which order, and what a failure does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from qtasks_core import blocking
from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import ConfigError
from qtasks_core.events import On
from qtasks_core.task import TaskSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

ARGUMENTS = {
    "starting": ["worker"],
    "worker_running": ["broker", "worker"],
    "stopping": ["qtasks", "starter"],
    "worker_stopping": ["worker"],
    "task_running": ["execution", "worker"],
    "task_stopping": ["execution", "record", "worker"],
    "task_success": ["outcome", "task", "worker"],
    "task_error": ["outcome", "task", "worker"],
    "task_cancel": ["outcome", "task", "worker"],
}
FAST = QueueConfig(retry_backoff=0.0)


def _listen(app: QueueTasks, notes: list[tuple[str, Any]]) -> None:
    """Note each event with what it gives."""
    for name in ARGUMENTS:

        def note(name: str = name, **given: Any) -> None:
            notes.append((name, given))

        getattr(app.events.on, name)(note)


def test_the_events_are_those_that_are_promised() -> None:
    """No more, no less."""
    assert sorted(ARGUMENTS) == sorted(name for name in vars(On) if not name.startswith("_"))


async def test_a_workers_life_in_events(app: QueueTasks) -> None:
    """From the start over a task to the stop, each with its arguments; a worker within a program has them all."""
    notes: list[tuple[str, Any]] = []
    _listen(app, notes)

    @app.task
    async def add(x: int, y: int) -> int:
        return x + y

    async with app.worker():
        await add.add_task(1, 2).result(timeout=5)
    await app.stop()

    order = [name for name, _ in notes]
    assert ["starting", "worker_running", "task_running", "task_stopping", "task_success"] == order[:5]
    assert ["stopping", "worker_stopping"] == order[5:]
    for name, given in notes:
        assert ARGUMENTS[name] == sorted(given)
    assert app is dict(notes)["stopping"]["qtasks"]


@pytest.mark.parametrize("how", ["success", "error", "retried", "cancel", "expired", "dead"])
async def test_how_a_task_ends_is_told_when_it_is_written(running: Running, how: str) -> None:
    """Once, with the task as it is kept; an attempt that is followed by another is no error."""
    app = QueueTasks("test", "memory://", config=FAST)
    told: list[tuple[str, TaskSnapshot[Any]]] = []
    attempts: list[int] = []
    written = asyncio.Event()

    def note(event: str) -> Callable[..., None]:
        def hear(task: TaskSnapshot[Any]) -> None:
            told.append((event, task))
            written.set()

        return hear

    for event in ("task_success", "task_error", "task_cancel"):
        getattr(app.events.on, event)(note(event))

    @app.task(echo=True, retry=1)
    async def job(self: Any, how: str) -> str:
        attempts.append(self.attempt)
        if how == "cancel":
            self.cancel("enough")
        if how == "error" or (how == "retried" and self.attempt == 1):
            raise LookupError("nothing")
        return "done"

    async with running(app) as worker:
        if how == "dead":
            _kill_on_arrival(worker)
        options: Any = {"expires": 0.001, "delay": 0.05} if how == "expired" else {}
        added = await job.with_options(**options).add_task(how)
        await asyncio.wait_for(written.wait(), 5)
        kept = await added.refresh()

    ((event, task),) = told
    assert {"retried": "success", "expired": "cancel", "dead": "error"}.get(how, how) == event.removeprefix("task_")
    assert (kept.uuid, kept.status, "job") == (task.uuid, task.status, task.task_name)
    assert {"error": [1, 2], "retried": [1, 2], "expired": [], "dead": []}.get(how, [1]) == attempts
    if how == "error":
        assert task.error is not None
        assert ("LookupError", "nothing") == (task.error.type_name, task.error.message)
    if how == "success":
        assert "done" == task.returning


def _kill_on_arrival(worker: Any) -> None:
    """Have the worker take what arrives for something that has killed its workers again and again."""
    real = worker._intake.open

    def open_(delivery: Any, now: float) -> Any:
        return real(msgspec.structs.replace(delivery, crashes=100), now)

    worker._intake.open = open_


async def test_functions_may_be_async_and_take_what_they_need(app: QueueTasks, running: Running) -> None:
    """In the order of their declaration, with brackets or without; the decorated function stays what it is."""
    notes: list[Any] = []

    @app.events.on.task_running
    async def first(execution: Any) -> None:
        await asyncio.sleep(0)
        notes.append(("first", execution.args))

    @app.events.on.task_running()
    def second() -> None:
        notes.append("second")

    @app.events.on.task_running
    def third(worker: Any, *, nothing: int = 7) -> None:
        notes.append(("third", worker.name, nothing))

    @app.task
    def job(x: int) -> None:
        notes.append("runs")

    async with running(app):
        await job.add_task(1).result(timeout=5)
    await first(type("Execution", (), {"args": ()}))

    assert [("first", (1,)), "second", ("third", "worker-1", 7), "runs", ("first", ())] == notes


async def test_one_that_fails_harms_no_task(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by its name; those after it are told all the same."""
    notes: list[str] = []

    @app.events.on.task_success
    def breaks() -> None:
        raise LookupError("out of order")

    @app.events.on.task_success
    def works(task: Any) -> None:
        notes.append(task.task_name)

    @app.task
    def job() -> int:
        return 1

    async with running(app):
        assert 1 == await job.add_task().result(timeout=5)

    assert ["job"] == notes
    (line,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert line.startswith("plugin app.events.on.task_success(test_one_that_fails_harms_no_task.<locals>.breaks): ")


@pytest.mark.parametrize("event", ["starting", "worker_running"])
async def test_one_that_fails_at_the_start_stops_it(app: QueueTasks, event: str) -> None:
    """A worker without what it needs takes no tasks."""

    async def breaks() -> None:
        raise LookupError("no database")

    getattr(app.events.on, event)(breaks)
    with pytest.raises(LookupError, match="no database"):
        async with app.worker():
            pass
    await app.stop()


def test_at_the_start_tasks_can_be_added_already() -> None:
    """The connections are open then, and still are when the worker has ended its tasks; in the blocking face too."""
    app = blocking.QueueTasks("test", "memory://")
    done = threading.Event()
    notes: list[str] = []

    @app.task
    async def job(text: str) -> None:
        notes.append(text)
        done.set()

    @app.events.on.starting
    async def begin() -> None:
        await job.aio.add_task("first")

    @app.events.on.worker_stopping
    async def end() -> None:
        added = await job.aio.add_task("for the next worker")
        notes.append((await added.refresh()).status)

    with app.worker():
        assert done.wait(5)
    app.stop()

    assert ["first", "new"] == notes


# ---------------------------------------------------------------- refused


def _generator() -> Any:
    yield


@pytest.mark.parametrize(
    ("event", "function", "message"),
    [
        ("starting", lambda app: None, "the event starting gives worker by name, not 'app'"),
        (
            "task_success",
            lambda outcom: None,
            "gives worker, outcome, task by name, not 'outcom'; did you mean 'outcome'?",
        ),
        ("task_error", lambda task, /: None, "gives worker, outcome, task by name, not 'task' by position"),
        ("task_running", _generator, "expected a function or a coroutine function, got a generator function"),
        ("task_cancel", 7, "app.events.on.task_cancel(7): expected a function, got 7"),
    ],
)
def test_a_function_that_could_not_be_called_is_refused(
    app: QueueTasks, event: str, function: Any, message: str
) -> None:
    """When it is declared; the error says what the event gives."""
    with pytest.raises(ConfigError) as caught:
        getattr(app.events.on, event)(function)

    assert str(caught.value).startswith(f"app.events.on.{event}(")
    assert message in str(caught.value)


@pytest.mark.parametrize("event", sorted(ARGUMENTS))
async def test_what_is_told_of_each_task_cannot_come_while_a_worker_is_at_work(
    app: QueueTasks, running: Running, event: str
) -> None:
    """It would not be told; the others may come at any time."""

    def hear() -> None: ...

    async with running(app):
        if event.startswith("task_"):
            with pytest.raises(ConfigError, match=rf"app.events.on.{event}\(.*frozen while the app is at work"):
                getattr(app.events.on, event)(hear)
        else:
            getattr(app.events.on, event)(hear)
