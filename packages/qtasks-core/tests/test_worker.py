"""The worker on memory://: what becomes of tasks that end well, badly, or cannot run at all."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Envelope, Message
from qtasks_core.errors import Postpone, TaskCancelError, TaskCancelledError, TaskDeadError, TaskFailedError
from qtasks_core.naming import new_uuid
from qtasks_core.wire import MAGIC, pack_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


async def _send_raw(app: QueueTasks, body: bytes, **fields: Any) -> UUID:
    """Put an envelope on the queue that no client of this version would make."""
    uuid = new_uuid()
    engine = app.core.engine()
    await engine.ensure_started()
    assert await engine.broker.send([Envelope(uuid, "default", body, **fields)]) == [None]
    return uuid


async def _final(app: QueueTasks, uuid: UUID) -> Any:
    return await app.core.engine().wait(uuid, 10)


async def _rests_as_new(app: QueueTasks, uuid: UUID) -> None:
    """Wait until a worker has put the task back: its status is new, and it is held back for a while."""
    broker = app.core.engine().broker
    while (await broker.depth("default")).delayed != 1:
        await asyncio.sleep(0.001)
    assert "new" == (await app.get(uuid)).status


async def test_a_result_comes_back_typed(app: QueueTasks, running: Running) -> None:
    """A result is decoded to the function's return annotation."""

    @app.task
    async def pair(x: int) -> tuple[int, str]:
        return (x, str(x))

    async with running(app):
        result = await pair.add_task(3).result(timeout=5)

    assert (3, "3") == result


async def test_the_record_tells_how_the_run_went(app: QueueTasks, running: Running) -> None:
    """After the end the task's snapshot has status, worker, times, arguments and result."""

    @app.task
    async def add(x: int, y: int) -> int:
        return x + y

    async with running(app):
        task = await add.add_task(1, y=2)
        await task.wait(timeout=5)

    assert ("success", "worker-1", 3, (1,), {"y": 2}, 1) == (
        task.status,
        task.worker,
        task.returning,
        task.args,
        task.kwargs,
        task.attempt,
    )
    assert task.started_at is not None
    assert task.finished_at is not None
    assert task.created_at <= task.started_at <= task.finished_at


async def test_a_task_that_raises_ends_with_error_and_its_traceback(app: QueueTasks, running: Running) -> None:
    """`result()` raises TaskFailedError with the remote traceback, which begins in the user's code."""

    @app.task
    async def fail() -> None:
        raise ValueError("no such thing")

    async with running(app):
        with pytest.raises(TaskFailedError, match="ValueError: no such thing") as caught:
            await fail.add_task().result(timeout=5)

    assert "ValueError" == caught.value.type_name
    assert "test_worker.py" in caught.value.traceback
    assert "qtasks_core" not in caught.value.traceback


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_a_task_cannot_end_its_worker(
    app: QueueTasks, running: Running, error: BaseException, where: str
) -> None:
    """What would end a process ends the task alone, with status error; the worker goes on."""

    def thread_task() -> None:
        raise error

    async def loop_task() -> None:
        raise error

    fail = app.task(name="fail")(loop_task if where == "loop" else thread_task)
    after = app.task(name="after")(_return_7)

    async with running(app):
        with pytest.raises(TaskFailedError, match=type(error).__name__):
            await fail.add_task().result(timeout=5)
        assert 7 == await after.add_task().result(timeout=5)


async def _return_7() -> int:
    return 7


async def test_an_argument_of_the_wrong_type_names_parameter_type_and_value(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A value that does not fit the annotation ends the task with error; the log does not quote it, the record does."""
    ran: list[int] = []

    @app.task
    async def square(x: int) -> int:
        ran.append(x)
        return x * x

    async with running(app):
        with caplog.at_level(logging.INFO), pytest.raises(TaskFailedError) as caught:
            await app.add_task("square", "secret").result(timeout=5)

    assert "parameter 'x': Expected `int`, got `str`; the value is 'secret'" in str(caught.value)
    assert [] == ran
    assert "secret" not in caplog.text


async def test_a_result_that_cannot_be_encoded_ends_its_task_with_error(app: QueueTasks, running: Running) -> None:
    """The error names the type; the task is not run again and its neighbours are not touched."""
    runs: list[int] = []

    @app.task
    async def lock() -> Any:
        runs.append(1)
        return threading.Lock()

    other = app.task(name="other")(_return_7)
    async with running(app):
        tasks = [await lock.add_task(), await other.add_task()]
        with pytest.raises(TaskFailedError, match=r"the result of task 'lock' cannot be encoded.*_thread\.lock"):
            await tasks[0].result(timeout=5)
        assert 7 == await tasks[1].result(timeout=5)

    assert [1] == runs


async def test_a_result_too_large_ends_its_task_with_error(running: Running) -> None:
    """The error gives the size, the setting and a way out."""
    app = QueueTasks("test", "memory://", config=QueueConfig(max_message_bytes=10_000))

    @app.task
    async def big() -> bytes:
        return b"x" * 20_000

    async with running(app):
        with pytest.raises(TaskFailedError, match=r"20,009 bytes, max_message_bytes is 10,000; return a reference"):
            await big.add_task().result(timeout=5)


async def test_a_result_nested_too_deep_ends_its_task_with_error(app: QueueTasks, running: Running) -> None:
    """Nesting beyond max_depth is refused where it is made."""

    @app.task
    async def deep() -> list[Any]:
        value: list[Any] = []
        for _ in range(100):
            value = [value]
        return value

    async with running(app):
        with pytest.raises(TaskFailedError, match=r"nested deeper than max_depth \(64\)"):
            await deep.add_task().result(timeout=5)


async def test_sync_tasks_run_in_threads_with_the_contextvars_of_their_run(app: QueueTasks, running: Running) -> None:
    """A `def` task runs off the loop's thread; what it sets in a contextvar stays in its run."""
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="clean")

    @app.task
    def where(name: str) -> list[str]:
        before = seen.get()
        seen.set(name)
        return [threading.current_thread().name, before]

    async with running(app):
        tasks = await where.add_many([("a",), ("b",), ("c",)])
        results = [await task.result(timeout=5) for task in tasks]

    assert ["clean"] * 3 == [before for _, before in results]
    assert all(name.startswith("qtasks-task") for name, _ in results)


async def test_concurrency_is_the_number_of_deliveries_held(app: QueueTasks, running: Running) -> None:
    """No more than `concurrency` tasks are held, and all of these run at once."""
    gate, full, most = asyncio.Event(), asyncio.Event(), 0
    inside: set[int] = set()

    @app.task
    async def hold(number: int) -> None:
        nonlocal most
        inside.add(number)
        most = max(most, len(inside))
        if len(inside) == 3:
            full.set()
        await gate.wait()
        inside.discard(number)

    async with running(app, concurrency=3) as worker:
        tasks = await hold.add_many([(n,) for n in range(10)])
        await asyncio.wait_for(full.wait(), 5)
        assert 3 == worker.running
        gate.set()
        for task in tasks:
            await task.wait(timeout=5)

    assert 3 == most


async def test_lower_priority_numbers_go_first(app: QueueTasks, running: Running) -> None:
    """Of what waits when a slot is filled, the lowest number goes first, then the oldest."""
    order: list[str] = []

    @app.task
    async def note(name: str) -> None:
        order.append(name)

    for name, priority in (("late", 5), ("first", -3), ("middle", 0), ("middle2", 0)):
        await note.with_options(priority=priority).add_task(name)
    async with running(app, concurrency=1):
        while len(order) < 4:
            await asyncio.sleep(0.001)

    assert ["first", "middle", "middle2", "late"] == order


async def test_an_unknown_task_name_is_parked_and_the_others_go_on(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Its status stays new and its attempt 1; it is put back again and again, warned of once."""
    known = app.task(name="known")(_return_7)
    async with running(app):
        stranger = await app.add_task("stranger")
        for _ in range(5):
            assert 7 == await known.add_task().result(timeout=5)
            await asyncio.sleep(0.02)
        while (await stranger.refresh()).status != "new":  # a worker may look at it at this moment
            await asyncio.sleep(0.001)
        assert 1 == stranger.attempt

    assert 1 == caplog.text.count("no worker knows the task name 'stranger'")


async def test_a_parked_task_runs_when_a_worker_that_knows_it_comes(app: QueueTasks, running: Running) -> None:
    """A rolling deploy loses nothing: what the old worker did not know, the new one runs."""
    async with running(app):
        stranger = await app.add_task("stranger")
        await asyncio.sleep(0.05)
    app.task(name="stranger")(_return_7)
    async with running(app):
        assert 7 == await stranger.result(timeout=5)


async def test_a_task_unknown_for_too_long_is_dead(running: Running) -> None:
    """After unknown_ttl it is dead-lettered; the waiter gets TaskDeadError with the reason."""
    app = QueueTasks("test", "memory://", config=QueueConfig(park_delay=0.01, unknown_ttl=0.05))
    async with running(app):
        with pytest.raises(TaskDeadError, match="no worker knows the task name 'stranger', for 0 s"):
            await app.add_task("stranger").result(timeout=5)
        assert 1 == (await app.core.engine().broker.depth("default")).dead


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", MAGIC, MAGIC + b"\x01\x00\x00\x00", MAGIC + b"\x01\x00\x00\x00\xc1", b"\x93\x01\x02\x03"],
)
async def test_an_unreadable_body_is_dead_lettered_and_the_worker_lives(
    app: QueueTasks, running: Running, body: bytes
) -> None:
    """A damaged message ends with status dead; the next task runs."""
    after = app.task(name="after")(_return_7)
    async with running(app):
        uuid = await _send_raw(app, body)
        assert "dead" == (await _final(app, uuid)).status
        assert 7 == await after.add_task().result(timeout=5)


async def test_a_newer_wire_major_is_parked(app: QueueTasks, running: Running) -> None:
    """A message of the next major version waits for a worker that reads it."""
    async with running(app):
        uuid = await _send_raw(app, MAGIC + b"\x02\x00\x00\x00" + b"whatever")
        await _rests_as_new(app, uuid)


async def test_an_unknown_codec_is_parked(app: QueueTasks, running: Running) -> None:
    """Arguments in a codec that is not installed wait like an unknown task."""
    app.task(name="known")(_return_7)
    async with running(app):
        uuid = await _send_raw(app, pack_message(Message("known", b"", b"", codec="morse")))
        await _rests_as_new(app, uuid)


async def test_frames_of_other_minor_versions_are_read(app: QueueTasks, running: Running) -> None:
    """Fields are only ever appended: a shorter frame takes defaults, further fields are passed over."""
    app.task(name="known")(_return_7)
    empty = (msgspec.msgpack.encode([]), msgspec.msgpack.encode({}))
    older = MAGIC + b"\x01\x00\x00\x00" + msgspec.msgpack.encode(["known", *empty])
    newer = (
        MAGIC
        + b"\x01\x07\x00\x00"
        + msgspec.msgpack.encode(["known", *empty, "msgpack", None, None, None, None, {}, None, "new field", 7])
    )
    async with running(app):
        for body in (older, newer):
            assert "success" == (await _final(app, await _send_raw(app, body))).status


async def test_an_expired_task_does_not_start(app: QueueTasks, running: Running) -> None:
    """Its status is cancel, with the reason."""
    ran: list[int] = []

    @app.task
    async def run() -> None:
        ran.append(1)

    task = await run.with_options(expires=0.01).add_task()
    await asyncio.sleep(0.02)
    async with running(app):
        with pytest.raises(TaskCancelledError, match="expired before it started"):
            await task.result(timeout=5)

    assert [] == ran


async def test_a_task_that_cancels_itself_has_status_cancel(app: QueueTasks, running: Running) -> None:
    """Raising TaskCancelError ends the task as cancelled, with its message as the reason."""

    @app.task
    async def give_up() -> None:
        raise TaskCancelError("changed my mind")

    async with running(app):
        with pytest.raises(TaskCancelledError, match="changed my mind"):
            await give_up.add_task().result(timeout=5)


async def test_a_postponed_task_runs_again_as_the_same_attempt(app: QueueTasks, running: Running) -> None:
    """Postpone puts the task back, uncharged."""
    runs = 0

    @app.task
    async def later() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise Postpone(delay=0.01)
        return runs

    async with running(app):
        task = await later.add_task()
        assert 2 == await task.result(timeout=5)

    assert ("success", 1) == (task.status, task.attempt)


async def test_a_delayed_task_is_not_early(app: QueueTasks, running: Running) -> None:
    """A task with a delay starts when it is due, not before."""
    loop = asyncio.get_running_loop()
    started: list[float] = []

    @app.task
    async def note() -> None:
        started.append(loop.time())

    async with running(app):
        added = loop.time()
        await note.with_options(delay=0.1).add_task().wait(timeout=5)

    assert started[0] - added >= 0.1


async def test_a_task_without_results_keeps_none(app: QueueTasks, running: Running) -> None:
    """results=False: asking fails at once, and no record is left."""
    from qtasks_core.errors import ResultExpiredError

    done = asyncio.Event()

    @app.task
    async def run() -> int:
        done.set()
        return 1

    async with running(app) as worker:
        task = await run.with_options(results=False).add_task()
        with pytest.raises(ResultExpiredError, match="results=False"):
            await task.result(timeout=5)
        await asyncio.wait_for(done.wait(), 5)
        while worker.running:
            await asyncio.sleep(0.001)
        with pytest.raises(ResultExpiredError):
            await app.get(task.uuid)
