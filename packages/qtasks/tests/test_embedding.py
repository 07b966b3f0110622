"""Workers inside programs that have other work too, of the awaitable face, in memory and in a file."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pluggy import HookimplMarker

import qtasks
import qtasks.asyncio
from qtasks import QueueConfig
from qtasks.exceptions import ConfigError, UnavailableError
from qtasks_core.components import Sources
from qtasks_core.control import WORKER_PREFIX
from qtasks_core.memory import MemoryBroker
from qtasks_testing import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from qtasks_core.app import AppFace

hookimpl = HookimplMarker("qtasks")
SETTINGS = QueueConfig(shutdown_timeout=10.0)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'queue.db'}"


@pytest.fixture
def app(url: str) -> qtasks.asyncio.QueueTasks:
    return qtasks.asyncio.QueueTasks("embedded", url, config=SETTINGS)


def in_use(app: AppFace) -> int:
    """Return how many engines the app has: what is left open."""
    return len(app.core._engines) + len(app.core._workers)


class Steps:
    """A task that has begun, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.ended: list[int] = []

    async def work(self, number: int) -> int:
        self.begun.set()
        await self.go.wait()
        self.ended.append(number)
        return number


# ---------------------------------------------------------------- its life


async def test_it_runs_tasks_within_its_block_and_again_in_the_next(app: qtasks.asyncio.QueueTasks) -> None:
    """Beside clients on the same loop; between two blocks a task waits; nothing is left open in the end."""

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    @app.task
    def triple(x: int) -> int:
        return 3 * x

    worker = app.worker()
    async with worker as entered:
        assert worker is entered
        assert 2 == await double.add_task(1).result(timeout=10)
        assert 3 == await triple.add_task(1).result(timeout=10)
    assert 0 == in_use(app)

    task = await double.add_task(4)
    async with worker:
        assert 8 == await task.result(timeout=10)
    async with app.worker():
        assert 10 == await double.add_task(5).result(timeout=10)
    await app.stop()
    assert 0 == in_use(app)


async def test_it_leaves_signals_alone(app: qtasks.asyncio.QueueTasks) -> None:
    """Ctrl-C and SIGTERM are the program's own business."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    async with app.worker():
        within = [signal.getsignal(number) for number in numbers]

    assert before == within


async def test_what_runs_may_finish_and_what_waits_is_left_waiting(app: qtasks.asyncio.QueueTasks) -> None:
    """The end of the block waits for the running task; another one is not begun."""
    steps = Steps()
    work = app.task(steps.work)
    async with app.worker(concurrency=1) as worker:
        first, second = await work.add_many([(1,), (2,)])
        await steps.begun.wait()
        assert 1 == worker.running
        asyncio.get_running_loop().call_later(0.05, steps.go.set)

    assert ([1], "success") == (steps.ended, (await first.refresh()).status)
    assert "new" == (await second.refresh()).status
    await app.stop()


async def test_what_outlasts_the_shutdown_timeout_is_given_back(app: qtasks.asyncio.QueueTasks) -> None:
    """The run is cancelled, the task waits again, uncharged, and the next worker runs it."""
    steps = Steps()
    work = app.task(steps.work)
    async with app.worker(shutdown_timeout=0.0):
        task = await work.add_task(1)
        await steps.begun.wait()
    await task.refresh()
    assert ([], "new", 1) == (steps.ended, task.status, task.attempt)

    steps.go.set()
    async with app.worker():
        assert 1 == await task.result(timeout=10)
    await app.stop()


async def test_an_error_in_the_block_does_not_cut_tasks_off(app: qtasks.asyncio.QueueTasks) -> None:
    """It is raised when what ran has finished."""
    steps = Steps()
    work = app.task(steps.work)

    async def program() -> None:
        async with app.worker():
            await work.add_task(1)
            await steps.begun.wait()
            asyncio.get_running_loop().call_later(0.05, steps.go.set)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()
    assert [1] == steps.ended
    assert 0 == in_use(app)


async def test_cancellations_do_not_cut_tasks_off_either(app: qtasks.asyncio.QueueTasks) -> None:
    """Neither the first, in the block, nor a second one while it drains; they are raised after that."""
    steps = Steps()
    work = app.task(steps.work)

    async def program() -> None:
        async with app.worker():
            await work.add_task(1)
            await asyncio.Event().wait()

    running = asyncio.create_task(program())
    await steps.begun.wait()
    running.cancel()
    await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.sleep(0.02)
    assert not running.done()
    steps.go.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [1] == steps.ended
    assert 0 == in_use(app)


async def test_a_cancellation_while_it_drains_is_not_swallowed(app: qtasks.asyncio.QueueTasks) -> None:
    """A block that came to its end by itself ends with the cancellation that came while it waited for its tasks."""
    steps = Steps()
    work = app.task(steps.work)

    async def program() -> None:
        async with app.worker():
            await work.add_task(1)
            await steps.begun.wait()

    running = asyncio.create_task(program())
    await steps.begun.wait()
    await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.sleep(0.02)
    steps.go.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [1] == steps.ended


async def test_it_cannot_be_entered_twice_at_a_time(app: qtasks.asyncio.QueueTasks) -> None:
    """The error names the way to a second worker; the first one goes on."""

    @app.task
    async def job() -> int:
        return 1

    async with app.worker() as worker:
        with pytest.raises(RuntimeError, match=r"app\.worker\(\) makes another one"):
            await worker.start()
        assert 1 == await job.add_task().result(timeout=10)


async def test_it_announces_itself_as_any_worker(app: qtasks.asyncio.QueueTasks) -> None:
    """Under its name, with its queues and its concurrency; not any more when it has ended."""
    config = app.core.engine().global_config
    assert config is not None
    await config.start()

    async def announced() -> bytes:
        return (await config.get(f"{WORKER_PREFIX}embedded-1")).value or b""

    async with app.worker(name="embedded-1", concurrency=3, queues=["a", "b"]) as worker:
        assert "embedded-1" == worker.name
        value = await eventually(announced)
    assert b'"concurrency":3,"queues":["a","b"]' in value
    assert b"" == await announced()
    await config.stop()


async def test_a_thread_limit_that_is_reached_is_told(
    app: qtasks.asyncio.QueueTasks, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot restart the program, as a worker process does itself: the log asks for it, the worker goes on."""
    release = threading.Event()

    @app.task(timeout=0.05)
    def stuck() -> None:
        release.wait(20)

    @app.task
    def quick() -> int:
        return 1

    with caplog.at_level(logging.ERROR, "qtasks"):
        async with app.worker(concurrency=1):
            with pytest.raises(Exception, match="timeout"):
                await stuck.add_task().result(timeout=10)
            await eventually(lambda: "restart the program" in caplog.text)
            assert 1 == await quick.add_task().result(timeout=10)
            release.set()


# ---------------------------------------------------------------- starts that fail


class _RefusingOnce:
    def __init__(self) -> None:
        self.starts = 0

    @hookimpl
    def worker_start(self) -> None:
        self.starts += 1
        if self.starts == 1:
            raise ZeroDivisionError("no")


async def test_a_plugin_may_stop_the_start(app: qtasks.asyncio.QueueTasks) -> None:
    """Its error is raised on entry, nothing is left open, and the same worker can be entered later."""
    app.core.triggers.register(_RefusingOnce())
    worker = app.worker()
    with pytest.raises(ZeroDivisionError):
        async with worker:
            raise AssertionError("the block was entered")
    assert 0 == in_use(app)

    async with worker:
        assert worker.name


class _Away(MemoryBroker):
    async def start(self) -> None:
        raise UnavailableError("away")


async def test_a_start_that_waits_for_a_server_can_be_cancelled() -> None:
    """The entry waits as a worker process does; `asyncio.timeout` around it ends that, and nothing is left open."""
    app = qtasks.asyncio.QueueTasks("embedded", "memory://")
    app.core.sources = Sources(broker_url="memory://", broker=_Away("memory://", app.core.new_context()))
    app.core._spare = None
    worker = app.worker()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await worker.start()

    assert 0 == in_use(app)


async def test_an_executor_that_is_none_is_told_at_once() -> None:
    """A ConfigError, before anything is connected to; nothing is left open."""
    app = qtasks.asyncio.QueueTasks("embedded", "memory://", task_executor=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="task_executor"):
        async with app.worker():
            raise AssertionError("the block was entered")

    assert 0 == in_use(app)


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"queues": "mail"}, {"shutdown_timeout": -1}, {"name": ""}, {"queue_concurrency": {"a": 0}}],
)
def test_options_are_checked_where_they_are_given(options: dict[str, Any]) -> None:
    """Of both faces, before anything is started."""
    app = qtasks.QueueTasks("embedded", "memory://")
    for face in (app, app.aio):
        with pytest.raises(ConfigError, match="option"):
            face.worker(**options)


# ---------------------------------------------------------------- beside others


async def test_clients_keep_their_connections_when_it_ends(app: qtasks.asyncio.QueueTasks) -> None:
    """A client that was there before, and waits for a result across the end of one worker, gets it from the next."""

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    early = await double.add_task(1)
    waiting = asyncio.create_task(double.with_options(queue="later").add_task(2).result(timeout=20))
    async with app.worker():
        assert 2 == await early.result(timeout=10)
    assert not waiting.done()
    async with app.worker(queues=["later"]):
        assert 4 == await waiting
    await app.stop()
    assert 0 == in_use(app)


async def test_app_stop_within_the_block_leaves_the_worker_its_connections(app: qtasks.asyncio.QueueTasks) -> None:
    """`async with app:` inside is what a client writes, and ends no worker."""

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    async with app.worker():
        async with app:
            assert 2 == await double.add_task(1).result(timeout=10)
        assert 4 == await double.add_task(2).result(timeout=10)


async def test_an_instance_serves_client_and_worker(url: str) -> None:
    """A broker that was given as an object is one for both: the worker's end does not stop it for the client."""
    app = qtasks.asyncio.QueueTasks("embedded", url)
    app.core.sources = Sources(url, None, None, *app.core.build_components(app.core.new_context()))
    app.core._spare = None

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    task = await double.add_task(1)
    for _ in range(2):
        async with app.worker():
            assert 2 == await task.result(timeout=10)
        task = await double.add_task(1)
    assert "new" == (await task.refresh()).status
    await app.stop()
    assert {} == app.core.new_context().shared("engines by the parts that they started", dict)


async def test_workers_of_one_app_and_of_several_work_at_the_same_time(tmp_path: Path) -> None:
    """On one loop: each takes from its own queues, each app has its own tasks; who ends first takes nobody along."""
    apps = [qtasks.asyncio.QueueTasks(name, f"sqlite:///{tmp_path / 'queue.db'}") for name in ("one", "two")]
    ran: list[str] = []

    def declare(app: qtasks.asyncio.QueueTasks) -> Any:
        @app.task(name="say")
        async def say(text: str) -> str:
            ran.append(f"{app.name} {text}")
            return text

        return say

    one, two = map(declare, apps)
    async with apps[1].worker(), apps[0].worker(queues=["b"]):
        first = apps[0].worker(queues=["a"])
        await first.start()
        tasks = [
            await one.with_options(queue="a").add_task("a"),
            await one.with_options(queue="b").add_task("b"),
            await two.add_task("c"),
        ]
        assert ["a", "b", "c"] == [await task.result(timeout=10) for task in tasks]
        await first.stop()
        assert "d" == await one.with_options(queue="b").add_task("d").result(timeout=10)

    assert {"one a", "one b", "one d", "two c"} == set(ran)
    assert [0, 0] == [in_use(app) for app in apps]


async def test_what_a_loop_uses_goes_over_to_the_worker_that_stays() -> None:
    """Clients of a loop use its worker's connections; when that one ends first, those of another: none stays open."""
    app = qtasks.asyncio.QueueTasks("embedded", "memory://")
    first, second = app.worker(), app.worker()
    await first.start()
    await second.start()
    await app.add_task("x")
    await first.stop()
    await app.add_task("x")
    await second.stop()

    assert 0 == in_use(app)
