"""What operators do with an app: cancel by uuid, pause and resume queues, ping workers, delete everything."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import ConfigError, ResultExpiredError, TaskCancelledError
from qtasks_core.memory import MemoryBroker, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_core.task import Task, TaskSnapshot
from qtasks_core.worker.announcer import Announcer
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import TaskRecord
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")
TWO_QUEUES = QueueConfig(queues=("default", "slow"))


@pytest.fixture
def app() -> QueueTasks:
    app = QueueTasks("test", "memory://", config=TWO_QUEUES)

    @app.task
    async def echo(x: int) -> int:
        return x

    return app


@pytest.fixture
def unconnected() -> QueueTasks:
    """Return an app that has no global config."""
    context = QueueTasks("other", "memory://").core.new_context()
    return QueueTasks("test", broker=MemoryBroker("memory://", context), storage=MemoryStorage("memory://", context))


async def _add(app: QueueTasks, x: int, queue: str = "default") -> Task[Any]:
    return await app.with_options(queue=queue).add_task("echo", x)


# ---------------------------------------------------------------- pause and resume


async def test_a_paused_queue_is_not_taken_from(app: QueueTasks, running: Running) -> None:
    """Other queues go on; what was added meanwhile runs when the queue is resumed."""
    async with running(app) as worker:
        await app.pause("slow")
        await eventually(lambda: worker._commands.paused == {"slow"})
        waiting, other = await _add(app, 1, "slow"), await _add(app, 2)

        assert 2 == await other.result(timeout=5)
        assert "new" == (await waiting.refresh()).status

        await app.resume("slow")
        assert 1 == await waiting.result(timeout=5)


async def test_a_pause_outlives_the_worker(app: QueueTasks, running: Running) -> None:
    """A worker that starts later takes nothing from the queue either, not even once."""
    await app.pause("slow")
    waiting = await _add(app, 1, "slow")
    for _ in range(2):
        async with running(app):
            assert 2 == await (await _add(app, 2)).result(timeout=5)
            assert "new" == (await waiting.refresh()).status
    await app.resume("slow")
    async with running(app):
        assert 1 == await waiting.result(timeout=5)


async def test_what_runs_when_its_queue_is_paused_goes_on(app: QueueTasks, running: Running) -> None:
    """A pause is no cancel."""
    started, end = asyncio.Event(), asyncio.Event()

    @app.task(queue="slow")
    async def hold() -> int:
        started.set()
        await end.wait()
        return 7

    async with running(app) as worker:
        task = await hold.add_task()
        await started.wait()
        await app.pause("slow")
        await eventually(lambda: worker._commands.paused == {"slow"})
        end.set()
        assert 7 == await task.result(timeout=5)


async def test_all_queues_may_be_paused(app: QueueTasks, running: Running) -> None:
    """Then a worker rests; it comes back with the first that is resumed."""
    for queue in ("slow", "default"):
        await app.pause(queue)
    async with running(app):
        task = await _add(app, 1)
        assert ["default", "slow"] == await app.paused()
        await app.resume("default")
        assert 1 == await task.result(timeout=5)
        assert ["slow"] == await app.paused()


async def test_a_pause_that_comes_while_a_worker_begins_to_listen_holds(
    app: QueueTasks, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the worker tells its broker last is what it heard last."""
    subscribe, may_go_on, asked = MemoryBroker.subscribe, asyncio.Event(), list[list[str]]()

    async def late(broker: MemoryBroker, queues: list[str], *args: Any) -> None:
        asked.append(queues)
        await may_go_on.wait()
        await subscribe(broker, queues, *args)

    monkeypatch.setattr(MemoryBroker, "subscribe", late)
    async with running(app) as worker:
        await eventually(lambda: asked)
        await app.pause("slow")
        await eventually(lambda: worker._commands.paused == {"slow"})
        may_go_on.set()
        await eventually(lambda: asked == [["default", "slow"], ["default"]])
        waiting = await _add(app, 1, "slow")
        assert 2 == await (await _add(app, 2)).result(timeout=5)
        assert "new" == (await waiting.refresh()).status


async def test_pausing_twice_is_pausing(app: QueueTasks) -> None:
    """And resuming what is not paused is no error."""
    await app.pause("slow")
    await app.pause("slow")
    await app.resume("slow")
    await app.resume("slow")
    assert [] == await app.paused()
    await app.stop()


@pytest.mark.parametrize("name", ["", None, 3])
async def test_a_queue_has_a_name(app: QueueTasks, name: Any) -> None:
    """What is none is refused with what was expected."""
    for ask in (app.pause, app.resume):
        with pytest.raises(ConfigError, match="queue: expected the name of a queue, got"):
            await ask(name)
    await app.stop()


# ---------------------------------------------------------------- cancel


async def test_a_waiting_task_is_cancelled_by_its_uuid(app: QueueTasks, running: Running) -> None:
    """It never starts; its record keeps the reason."""
    task = await _add(app, 1)

    assert await app.cancel(task.uuid, "not needed")
    async with running(app):
        with pytest.raises(TaskCancelledError, match="not needed"):
            await task.result(timeout=5)
        assert not await app.cancel(task.uuid)


async def test_a_running_task_is_cancelled_by_its_uuid(app: QueueTasks, running: Running) -> None:
    """It gets a CancelledError where it waits."""
    started = asyncio.Event()

    @app.task
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async with running(app):
        task = await hang.add_task()
        await started.wait()
        assert await app.cancel(task.uuid)
        with pytest.raises(TaskCancelledError, match="cancelled by its caller"):
            await task.result(timeout=5)


async def test_an_unknown_task_cannot_be_cancelled(app: QueueTasks) -> None:
    """It is told that nothing is known of it."""
    with pytest.raises(ResultExpiredError, match="nothing is known of task"):
        await app.cancel(new_uuid())
    await app.stop()


# ---------------------------------------------------------------- ping


@contextlib.asynccontextmanager
async def announced(running: AbstractAsyncContextManager[DefaultWorker], app: QueueTasks) -> AsyncIterator[Any]:
    """Have a worker announce itself, as a process does."""
    async with running as worker:
        announcer = Announcer(app.core, app.core.engine(), worker)
        announcing = asyncio.create_task(announcer.run())
        await eventually(lambda: _names(app))
        try:
            yield worker
        finally:
            announcing.cancel()
            await asyncio.wait([announcing])
            await announcer.leave()


async def _names(app: QueueTasks, prefix: str = "worker/") -> list[str]:
    global_config = app.core.engine().global_config
    assert global_config is not None
    return [key.removeprefix(prefix) for key in await global_config.list(prefix)]


async def test_workers_answer_with_their_name_and_age(app: QueueTasks, running: Running) -> None:
    """And where they are, what they take, and how long it took; who asks waits no longer than for the last answer."""
    async with announced(running(app), app):
        (worker,) = await app.ping(timeout=3600)

    assert ("worker-1", ("default", "slow")) == (worker.name, worker.queues)
    assert worker.latency is not None
    assert worker.latency >= 0
    assert 0 <= worker.age < 60
    assert worker.host
    assert worker.pid > 0


async def test_without_a_worker_nobody_answers(app: QueueTasks) -> None:
    """The list is empty, after the timeout; no question is left behind."""
    assert [] == await app.ping(timeout=0.01)
    assert [] == await _names(app, "ping/")
    await app.stop()


async def test_a_worker_that_hangs_is_shown_without_an_answer(app: QueueTasks, running: Running) -> None:
    """It is announced, but its loop does not get to answer: who asks sees that it is not well."""
    async with announced(running(app), app) as worker:
        await worker._commands.stop()  # deaf from now on
        (silent,) = await app.ping(timeout=0.05)

    assert ("worker-1", None) == (silent.name, silent.latency)


async def test_a_worker_that_is_not_announced_may_answer(app: QueueTasks, running: Running) -> None:
    """After a flush_all it is not, for a while; then all of the timeout is for those that are there."""
    async with running(app):
        assert ["worker-1"] == await eventually(lambda: _who_answers(app))


async def _who_answers(app: QueueTasks) -> list[str]:
    return [worker.name for worker in await app.ping(timeout=0.1)]


async def test_an_announcement_of_another_version_is_passed_over(app: QueueTasks, running: Running) -> None:
    """What cannot be read is no worker, and no error."""
    async with announced(running(app), app):
        global_config = app.core.engine().global_config
        assert global_config is not None
        for value in (b"", b"\xff", b"[]", b'{"name": 7}'):
            await global_config.put(f"worker/{len(value)}", value)
        assert ["worker-1"] == [worker.name for worker in await app.ping(timeout=3600)]


# ---------------------------------------------------------------- flush


async def test_flush_all_deletes_everything(app: QueueTasks, running: Running) -> None:
    """What waits, what is recorded, what is dead, what is shared; afterwards the app works as a new one."""

    @app.task
    async def fail() -> None:
        raise ValueError

    async with running(app):
        done, dead = await _add(app, 1), await fail.add_task()
        await done.wait(timeout=5)
        await dead.wait(timeout=5)
    waiting = await _add(app, 2)
    await app.pause("slow")

    await app.flush_all()

    broker = app.core.engine().broker
    assert (0, 0, 0, 0) == tuple(await broker.depth("default"))
    assert [] == await app.paused()
    for task in (done, dead, waiting):
        with pytest.raises(ResultExpiredError):
            await app.get(task.uuid)
    async with running(app):
        assert 3 == await (await _add(app, 3)).result(timeout=5)


async def test_who_waits_for_what_is_deleted_is_told(app: QueueTasks) -> None:
    """Not left waiting for ever."""
    task = await _add(app, 1)
    waiting = asyncio.create_task(task.result())
    await asyncio.sleep(0)
    await app.flush_all()
    async with asyncio.timeout(5):
        with pytest.raises(ResultExpiredError):
            await waiting
    await app.stop()


# ---------------------------------------------------------------- triggers


async def test_triggers_of_operations(app: QueueTasks) -> None:
    """Each is told once, in order, with the component it is about."""
    told: list[Any] = []

    class Plugin:
        @hookimpl
        def qtasks_ping(self, qtasks: Any, global_config: Any) -> None:
            told.append(("ping", qtasks is app, global_config is app.core.engine().global_config))

        @hookimpl
        def qtasks_flush_all(self, qtasks: Any, broker: Any) -> None:
            told.append(("flush", qtasks is app, broker is app.core.engine().broker))

        @hookimpl
        async def broker_flush_all(self, broker: Any) -> None:
            told.append(("flush broker", (await broker.depth("default")).ready))

        @hookimpl
        def storage_flush_all(self, storage: Any) -> None:
            told.append(("flush storage", storage is app.core.engine().storage))

    app.core.triggers.register(Plugin())
    await _add(app, 1)
    await app.ping(timeout=0.01)
    await app.flush_all()

    assert [("ping", True, True), ("flush", True, True), ("flush broker", 1), ("flush storage", True)] == told
    await app.stop()


async def test_triggers_of_reading(app: QueueTasks) -> None:
    """The record as broker and storage show it, then the task; each may replace what the caller gets."""

    class Plugin:
        @hookimpl
        def broker_get(self, broker: Any, task: TaskRecord) -> TaskRecord:
            task.reason = "broker"
            return task

        @hookimpl
        def storage_get(self, storage: Any, task: TaskRecord) -> None:
            task.reason = f"{task.reason}, storage"

        @hookimpl
        async def qtasks_get(self, qtasks: Any, broker: Any, task: TaskSnapshot[Any]) -> TaskSnapshot[Any]:
            assert qtasks is app
            assert isinstance(task, Task)
            task.record.reason = f"{task.reason}, app"
            return task

    app.core.triggers.register(Plugin())
    added = await _add(app, 1)

    assert "broker, storage, app" == (await app.get(added.uuid)).reason
    assert "broker, storage" == (await added.refresh()).reason
    await app.stop()


async def test_a_plugin_may_hide_a_task_from_get(app: QueueTasks) -> None:
    """What a replacing trigger raises is the caller's."""

    class Plugin:
        @hookimpl
        def qtasks_get(self, task: TaskSnapshot[Any]) -> None:
            raise PermissionError(task.task_name)

    added = await _add(app, 1)
    app.core.triggers.register(Plugin())
    with pytest.raises(PermissionError, match="echo"):
        await app.get(added.uuid)
    await app.stop()


# ---------------------------------------------------------------- where something is missing, and the other face


async def test_without_a_global_config_workers_cannot_be_reached(unconnected: QueueTasks) -> None:
    """Each operation that needs them names the setting that gives one; flush_all needs none."""
    asked = {
        "pause a queue": unconnected.pause("slow"),
        "resume a queue": unconnected.resume("slow"),
        "list paused queues": unconnected.paused(),
        "ping the workers": unconnected.ping(),
    }
    for what, asking in asked.items():
        with pytest.raises(ConfigError, match=rf"to {what} .* name a global config with global_config_url="):
            await asking
    await unconnected.flush_all()
    await unconnected.stop()


def test_the_blocking_face_does_the_same() -> None:
    """Every operation, from a thread without a loop."""
    app = BlockingQueueTasks("test", "memory://", config=TWO_QUEUES)

    @app.task
    def echo(x: int) -> int:
        return x

    with app:
        app.pause("slow")
        assert ["slow"] == app.paused()
        waiting = echo.with_options(queue="slow").add_task(1)
        worker = threading.Thread(target=app.run_forever)
        worker.start()
        assert 2 == echo.add_task(2).result(timeout=10)
        (answer,) = app.ping(timeout=10)
        assert answer.latency is not None
        assert "new" == app.get(waiting.uuid).status
        assert app.cancel(waiting.uuid, "enough")
        assert "enough" == app.get(waiting.uuid).reason
        app.resume("slow")
        assert [] == app.paused()
        app.flush_all()
        with pytest.raises(ResultExpiredError):
            app.get(waiting.uuid)
    worker.join(10)
    assert not worker.is_alive()
