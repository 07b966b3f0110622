"""`memory_app`: an app that is connected to memory for a test, what waits there, and time that moves."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core import aio, blocking
from qtasks_core.config import QueueConfig
from qtasks_core.errors import (
    BlockingCallError,
    ResultExpiredError,
    TaskCancelledError,
    TaskFailedError,
)
from qtasks_core.testing import memory_app

if TYPE_CHECKING:
    from collections.abc import Coroutine

SETTINGS = QueueConfig(retry_backoff=60.0)


@pytest.fixture
def app() -> aio.QueueTasks:
    """Return an app with a memory of its own, which stands for its broker: nothing of a test may get there."""
    return aio.QueueTasks("tested", "memory://own", config=SETTINGS)


@pytest.fixture
def shop() -> blocking.QueueTasks:
    return blocking.QueueTasks("tested", "memory://own", config=SETTINGS)


def statuses(tasks: list[Any]) -> list[tuple[str, str]]:
    return [(task.task_name, task.status) for task in tasks]


# ---------------------------------------------------------------- connected elsewhere


async def test_nothing_reaches_the_apps_own_broker(app: aio.QueueTasks) -> None:
    """What was there before is there after the block, untouched; what was added within it is not."""

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    before = await double.add_task(1)
    async with memory_app(app) as memory:
        within = await double.add_task(2)
        assert [within.uuid] == [task.uuid for task in memory.waiting()]
        ran = await memory.run_until_idle()
        assert [4] == [task.returning for task in ran]
        assert 4 == await within.result(timeout=1)
        with pytest.raises(ResultExpiredError):
            await before.refresh()

    assert "new" == (await before.refresh()).status
    with pytest.raises(ResultExpiredError):
        await within.refresh()
    assert "memory://own" == app.core.describe()["broker"]
    await app.stop()


def test_the_same_for_a_test_that_blocks(shop: blocking.QueueTasks) -> None:
    """Of an app that is in use already; its connections are as they were."""

    @shop.task
    def double(x: int) -> int:
        return 2 * x

    before = double.add_task(1)
    engine = dict(shop.core._engines)
    with memory_app(shop) as memory:
        task = double.add_task(2)
        assert [("double", "success")] == statuses(memory.run_until_idle())
        assert 4 == task.result(timeout=1)

    assert engine == shop.core._engines
    assert "new" == before.refresh().status
    shop.stop()


async def test_an_error_in_the_block_leaves_nothing_behind(app: aio.QueueTasks) -> None:
    """The app is connected as before; what it opened in memory is closed, so plugins may be added again."""

    async def fails() -> None:
        async with memory_app(app):
            await app.add_task("x")
            raise ZeroDivisionError

    wiring = app.core.wiring
    with pytest.raises(ZeroDivisionError):
        await fails()

    assert wiring == app.core.wiring
    assert not app.core.triggers.is_frozen("qtasks_add_task_before_broker")


async def test_each_block_has_a_memory_of_its_own(app: aio.QueueTasks) -> None:
    """One inside of another too; each sees its own tasks only."""
    async with memory_app(app) as outer:
        await app.add_task("outer")
        async with memory_app(app) as inner:
            await app.add_task("inner")
            assert ["inner"] == [task.task_name for task in inner.waiting()]
        assert ["outer"] == [task.task_name for task in outer.waiting()]
    async with memory_app(app) as memory:
        assert [] == memory.waiting()
        assert [] == await memory.run_until_idle()


def test_an_app_on_the_loop_of_a_test_client(app: aio.QueueTasks) -> None:
    """A web framework's test client runs the app on a loop in a thread: a blocking test runs what was added there."""
    loop = asyncio.new_event_loop()
    client = threading.Thread(target=loop.run_forever)
    client.start()

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    def request(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    async def handler(x: int) -> Any:
        return await double.add_task(x)

    with memory_app(app) as memory:
        task = request(handler(3))
        assert [6] == [one.returning for one in memory.run_until_idle()]
        assert 6 == request(task.result(timeout=1))
    assert not app.core.triggers.is_frozen("qtasks_add_task_before_broker")
    loop.call_soon_threadsafe(loop.stop)
    client.join()
    loop.close()
    app.core.portal.close()


async def test_a_blocking_block_on_a_loop_still_shows_what_waits(app: aio.QueueTasks) -> None:
    """There the handler under test may await; only running has to be awaited, which the error names."""
    with memory_app(app) as memory:
        await app.add_task("x")
        assert ["x"] == [task.task_name for task in memory.waiting()]
        with pytest.raises(BlockingCallError, match=r"async with memory_app\(app\)"):
            memory.run_until_idle()
    await asyncio.sleep(0)
    assert not app.core.triggers.is_frozen("qtasks_add_task_before_broker")


# ---------------------------------------------------------------- running


async def test_runs_are_returned_in_the_order_of_their_ends(app: aio.QueueTasks) -> None:
    """Each run is there, one that failed and one that was tried again too, as a task that can be asked."""
    tries: list[int] = []

    @app.task(retry=2, retry_backoff=0)
    async def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return "at last"

    @app.task
    async def broken() -> None:
        raise KeyError("x")

    async with memory_app(app) as memory:
        await flaky.add_task()
        await broken.add_task()
        ran = await memory.run_until_idle(concurrency=1)
        assert [("flaky", "retry"), ("broken", "error"), ("flaky", "retry"), ("flaky", "success")] == statuses(ran)
        assert [2, 1, 3, 3] == [task.attempt for task in ran]  # a retry's is the one that follows
        assert "at last" == await ran[-1].result()
        assert ran[1].error is not None
        assert "KeyError" == ran[1].error.type_name
        with pytest.raises(TaskFailedError):
            await ran[1].result()


async def test_what_tasks_add_runs_too(app: aio.QueueTasks) -> None:
    """Also on a queue that nobody knew, and when the first waits for the second."""

    @app.task
    async def child(x: int) -> int:
        return x + 1

    @app.task
    async def parent(x: int) -> int:
        waited = await child.with_options(queue="new").add_task(x)
        await child.with_options(queue="later").add_task(x)
        return 10 * await waited.result(timeout=10)

    async with memory_app(app) as memory:
        task = await parent.add_task(1)
        assert {"child", "parent"} == {name for name, _ in statuses(await memory.run_until_idle())}
        assert 20 == await task.result(timeout=1)
        assert [] == memory.waiting()


def test_blocking_tasks_call_blocking_tasks(shop: blocking.QueueTasks) -> None:
    """In threads, as in a worker."""

    @shop.task
    def child(x: int) -> str:
        return f"{x} {threading.current_thread() is threading.main_thread()}"

    @shop.task
    def parent(x: int) -> str:
        return child.add_task(x).result(timeout=10)

    with memory_app(shop) as memory:
        task = parent.add_task(1)
        assert [("child", "success"), ("parent", "success")] == statuses(memory.run_until_idle())
        assert "1 False" == task.result(timeout=1)
    shop.stop()


async def test_one_after_the_other(app: aio.QueueTasks) -> None:
    """concurrency=1 runs in the order of taking: by priority, then by age."""
    order: list[str] = []

    @app.task
    async def note(text: str) -> None:
        order.append(f"+{text}")
        await asyncio.sleep(0)
        order.append(f"-{text}")

    async with memory_app(app) as memory:
        for text, priority in (("a", 5), ("b", 0), ("c", 0)):
            await note.with_options(priority=priority).add_task(text)
        assert ["b", "c", "a"] == [task.args[0] for task in memory.waiting()]
        await memory.run_until_idle(concurrency=1)

    assert ["+b", "-b", "+c", "-c", "+a", "-a"] == order


async def test_what_is_paused_or_unknown_waits(app: aio.QueueTasks) -> None:
    """It does not hold up the test, and runs when it may."""

    @app.task
    async def job() -> None: ...

    async with memory_app(app) as memory:
        await app.pause("slow")
        await job.with_options(queue="slow").add_task()
        await app.add_task("nobody knows it")
        await job.add_task()
        assert [("job", "success")] == statuses(await memory.run_until_idle())
        assert 2 == len(memory.waiting())
        await app.resume("slow")
        assert [("job", "success")] == statuses(await memory.run_until_idle())


async def test_what_does_not_end_is_named(app: aio.QueueTasks) -> None:
    """A TimeoutError tells what runs and what waits behind it; the run is ended, and both wait again."""
    ended: list[bool] = []

    @app.task
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    @app.task
    async def behind() -> None: ...

    async with memory_app(app) as memory:
        await endless.add_task()
        await behind.add_task()
        with pytest.raises(TimeoutError, match=r"not idle within 0\.1 s: running endless; waiting behind"):
            await memory.run_until_idle(timeout=0.1, concurrency=1)
        assert [True] == ended
        assert [("endless", "new"), ("behind", "new")] == statuses(memory.waiting())


async def test_beside_a_worker_in_the_block(app: aio.QueueTasks) -> None:
    """`app.worker()` works in memory too, by the moved time; run_until_idle then leaves to it what it took."""

    @app.task
    async def double(x: int) -> int:
        return 2 * x

    async with memory_app(app) as memory, app.worker():
        task = await double.with_options(delay=3600).add_task(1)
        memory.advance(3600)
        assert 2 == await task.result(timeout=10)
        await double.add_task(2)
        await memory.run_until_idle(timeout=10)
        assert [] == memory.waiting()


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("how", ["delay", "eta"])
async def test_what_is_due_later_runs_when_the_time_has_come(app: aio.QueueTasks, how: str) -> None:
    """Not before, and without sleeping."""

    @app.task
    async def job() -> None: ...

    async with memory_app(app) as memory:
        if how == "delay":
            await job.with_options(delay=3600).add_task()
        else:
            eta = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            await job.with_options(eta=eta).add_task()
        assert [] == await memory.run_until_idle()
        memory.advance(3500)
        assert [] == await memory.run_until_idle()
        memory.advance(100)
        assert [("job", "success")] == statuses(await memory.run_until_idle())


async def test_a_retry_comes_when_its_time_has_come(app: aio.QueueTasks) -> None:
    """After the task's backoff."""

    @app.task(retry=1, retry_jitter=False)
    async def broken() -> None:
        raise ValueError

    async with memory_app(app) as memory:
        await broken.add_task()
        assert [("broken", "retry")] == statuses(await memory.run_until_idle())
        memory.advance(50)
        assert [] == await memory.run_until_idle()
        memory.advance(10)
        assert [("broken", "error")] == statuses(await memory.run_until_idle())


async def test_what_expires_is_cancelled(app: aio.QueueTasks) -> None:
    """It does not run, and is returned as what it has become."""

    @app.task
    async def job() -> None: ...

    async with memory_app(app) as memory:
        task = await job.with_options(expires=60).add_task()
        memory.advance(61)
        assert [("job", "cancel")] == statuses(await memory.run_until_idle())
        with pytest.raises(TaskCancelledError, match="expired"):
            await task.result(timeout=1)


async def test_lifetimes_go_by_the_moved_time(app: aio.QueueTasks) -> None:
    """Of results, and of unique keys."""

    @app.task(result_ttl=100)
    async def job() -> None: ...

    async with memory_app(app) as memory:
        task = await job.add_task()
        await memory.run_until_idle()
        memory.advance(101)
        with pytest.raises(ResultExpiredError):
            await task.refresh()

        unique = job.with_options(unique_key="k", unique_ttl=100, delay=1000)
        first, second = await unique.add_task(), await unique.add_task()
        memory.advance(101)
        third = await unique.add_task()
        assert (first.uuid, True) == (second.uuid, first.uuid != third.uuid)


async def test_the_time_is_told_and_does_not_go_back(app: aio.QueueTasks) -> None:
    """As the app sees it; after the block it is the real one."""
    async with memory_app(app) as memory:
        before = memory.time()
        memory.advance(1000)
        assert 1000 <= memory.time() - before < 1060
        assert memory.time() - app.core.new_context().clock() < 1
        with pytest.raises(ValueError, match="seconds: expected 0 or more, got -1"):
            memory.advance(-1)
    assert app.core.new_context().clock() < before + 500
