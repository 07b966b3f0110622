"""Workers inside blocking programs, each in a thread, in memory and in a file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import qtasks
from qtasks import QueueConfig
from qtasks.exceptions import BlockingCallError
from qtasks_testing import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def blocking(request: pytest.FixtureRequest, tmp_path: Path) -> qtasks.QueueTasks:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'queue.db'}"
    return qtasks.QueueTasks("embedded", url, config=QueueConfig(shutdown_timeout=10.0))


def test_in_a_thread_of_a_blocking_program(blocking: qtasks.QueueTasks) -> None:
    """`with app.worker():` beside calls that wait; tasks may call tasks; it may be entered again."""

    @blocking.task
    def inner(x: int) -> int:
        return x + 1

    @blocking.task
    def outer(x: int) -> int:
        return 2 * inner.add_task(x).result(timeout=10)

    with blocking.worker(concurrency=2) as worker:
        assert 4 == outer.add_task(1).result(timeout=10)
        assert worker.name
    task = outer.add_task(2)
    with worker:
        assert 6 == task.result(timeout=10)
    blocking.stop()
    assert (0, 0) == (len(blocking.core._engines), len(blocking.core._workers))


def test_its_tasks_finish_when_the_block_fails(blocking: qtasks.QueueTasks) -> None:
    """The error comes out when they have."""
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    @blocking.task
    def work() -> None:
        begun.set()
        go.wait(20)
        ended.set()

    def program() -> None:
        with blocking.worker() as worker:
            work.add_task()
            assert begun.wait(10)
            assert 1 == worker.running
            threading.Timer(0.05, go.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert ended.is_set()
    blocking.stop()


def test_app_stop_drains_it(blocking: qtasks.QueueTasks) -> None:
    """`app.stop()` within the block waits for what runs; leaving the block does no more then."""
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    @blocking.task
    def work() -> int:
        begun.set()
        go.wait(20)
        ended.set()
        return 1

    with blocking.worker() as worker:
        task = work.add_task()
        assert begun.wait(10)
        threading.Timer(0.05, go.set).start()
        blocking.stop()
        assert ended.is_set()
        assert 0 == worker.running
    with worker:
        assert 1 == task.result(timeout=10)
    blocking.stop()


def test_several_apps_have_workers_in_one_blocking_program(tmp_path: Path) -> None:
    """Each in its own thread."""
    apps = [qtasks.QueueTasks(name, f"sqlite:///{tmp_path / 'queue.db'}") for name in ("one", "two")]

    def declare(app: qtasks.QueueTasks) -> Callable[[], Any]:
        @app.task(name="where")
        async def where() -> str:
            return f"{app.name} {threading.current_thread().name}"

        return where.add_task

    one, two = map(declare, apps)
    with apps[0].worker(), apps[1].worker():
        assert ["one qtasks one", "two qtasks two"] == [add().result(timeout=10) for add in (one, two)]
    for app in apps:
        app.stop()


async def test_on_a_loop_the_error_names_the_awaitable_way(blocking: qtasks.QueueTasks) -> None:
    """It would block the loop."""
    with pytest.raises(BlockingCallError, match=r"app\.aio\.worker\(\)"), blocking.worker():
        raise AssertionError("the block was entered")


def test_stop_worker_ends_embedded_ones_too(blocking: qtasks.QueueTasks) -> None:
    """From any thread, without waiting for it."""
    with blocking.worker() as worker:
        blocking.core.stop_worker()
        eventually_sync(lambda: not blocking.core._workers)
        assert 0 == worker.running
    blocking.stop()
