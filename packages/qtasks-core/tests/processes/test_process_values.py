"""What goes into a process and comes back: arguments, results, errors; always data, never objects."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from processes import functions
from processes.bench import declare
from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import TaskFailedError

if TYPE_CHECKING:
    from processes.bench import Running


async def test_a_task_runs_in_another_process(app: QueueTasks, running: Running) -> None:
    """A `def` and an `async def`: neither in the worker's own; the result is what it returned."""
    pid, async_pid = declare(app, functions.process_id), declare(app, functions.async_process_id)
    square = declare(app, functions.square)
    async with running(app):
        found = {await pid.add_task().result(timeout=20), await async_pid.add_task().result(timeout=20)}

        assert [4, 9, 16] == [await square.add_task(x).result(timeout=20) for x in (2, 3, 4)]

    assert os.getpid() not in found


async def test_a_process_is_used_again(app: QueueTasks, running: Running) -> None:
    """One task after the other runs in the same process: it is warm."""
    pid = declare(app, functions.process_id)
    async with running(app):
        found = [await pid.add_task().result(timeout=20) for _ in range(5)]

    assert 1 == len(set(found))


async def test_arguments_are_converted_where_the_task_runs(app: QueueTasks, running: Running) -> None:
    """To the function's annotations, as for any task: positional, named, variadic."""
    mirror = declare(app, functions.mirror)
    async with running(app):
        found = await mirror.add_task(functions.Point(1, 2), "a", 3, 4, flag=True).result(timeout=20)

    assert ("Point", [1, 2, "a", [3, 4], True]) == found


async def test_an_argument_that_does_not_fit_is_told_as_ever(app: QueueTasks, running: Running) -> None:
    """The error names parameter, type and value, and further attempts do not help."""
    declare(app, functions.square, retry=3)
    async with running(app):
        task = await app.add_task("square", "four")
        with pytest.raises(TaskFailedError, match=r"parameter 'x': Expected `int`, got `str`; the value is 'four'"):
            await task.result(timeout=20)

    assert 1 == (await task.refresh()).attempt
    await app.stop()


@pytest.mark.parametrize(
    ("function", "argument", "error"),
    [
        ("unencodable", (), "the result of task 'unencodable' cannot be encoded as msgpack: builtins.object"),
        ("deep", (70,), r"the result of task 'deep' nested deeper than max_depth \(64\)"),
        ("large", (3000,), r"the result of task 'large' has 3,009 bytes, max_message_bytes is 2,000"),
    ],
)
async def test_a_result_has_its_limits(running: Running, function: str, argument: tuple[Any, ...], error: str) -> None:
    """What cannot be encoded, is nested too deep or too large ends its task with error, at the first attempt."""
    app = QueueTasks("limits", "memory://", config=QueueConfig(max_message_bytes=2000))
    task = declare(app, getattr(functions, function), retry=3)
    async with running(app):
        added = await task.add_task(*argument)
        with pytest.raises(TaskFailedError, match=error):
            await added.result(timeout=20)

        assert 1 == (await added.refresh()).attempt


async def test_an_error_comes_back_in_words(app: QueueTasks, running: Running) -> None:
    """Class, message and the traceback of the process, which begins at the task's own code."""
    fail = declare(app, functions.fail)
    async with running(app):
        with pytest.raises(TaskFailedError, match="ValueError: no such thing") as caught:
            await fail.add_task("no such thing").result(timeout=20)

    assert "ValueError" == caught.value.type_name
    assert "functions.py" in caught.value.traceback
    assert "raise ValueError(message)" in caught.value.traceback
    assert "qtasks_core" not in caught.value.traceback


async def test_an_exception_that_cannot_be_rebuilt_is_told_all_the_same(app: QueueTasks, running: Running) -> None:
    """Nothing is pickled: its class and its text are enough."""
    fail = declare(app, functions.fail_oddly)
    async with running(app):
        with pytest.raises(TaskFailedError, match="3 is odd: it just is") as caught:
            await fail.add_task().result(timeout=20)

    assert "processes.functions.OddError" == caught.value.type_name


async def test_sys_exit_ends_the_task_alone(app: QueueTasks, running: Running) -> None:
    """As in a thread: the process goes on with the next one."""
    leave, pid = declare(app, functions.leave), declare(app, functions.process_id)
    async with running(app):
        before = await pid.add_task().result(timeout=20)
        with pytest.raises(TaskFailedError, match="SystemExit: 3"):
            await leave.add_task(3).result(timeout=20)

        assert before == await pid.add_task().result(timeout=20)


@pytest.mark.parametrize(
    ("kinds", "attempts"), [(None, 3), ([ValueError], 3), ([Exception], 3), ([KeyError], 1), ([LookupError], 1)]
)
async def test_retry_on_exc_knows_the_classes_of_a_process(
    app: QueueTasks, running: Running, kinds: list[type[BaseException]] | None, attempts: int
) -> None:
    """By name, bases included, though no exception object arrives."""
    fail = declare(app, functions.fail, retry=2, retry_backoff=0, retry_on_exc=kinds)
    async with running(app):
        task = await fail.add_task("no")
        await task.wait(timeout=20)

        assert ("error", attempts) == (task.status, task.attempt)


async def test_sys_exit_is_not_tried_again(app: QueueTasks, running: Running) -> None:
    """It is no Exception, in a process as in a thread."""
    leave = declare(app, functions.leave, retry=2, retry_backoff=0)
    async with running(app):
        task = await leave.add_task(0)
        await task.wait(timeout=20)

        assert ("error", 1) == (task.status, task.attempt)


async def test_what_a_task_raises_to_steer_its_run_is_heard(app: QueueTasks, running: Running, tmp_path: Any) -> None:
    """Retry, Postpone, ctx.cancel."""
    again, give_up = declare(app, functions.again, retry=1), declare(app, functions.give_up)
    put_back = declare(app, functions.put_back)
    async with running(app):
        assert 2 == await again.add_task(0.0).result(timeout=20)
        assert "attempt 1" == await put_back.add_task(str(tmp_path / "there")).result(timeout=20)
        cancelled = await give_up.add_task("no use")
        await cancelled.wait(timeout=20)

        assert ("cancel", "no use") == (cancelled.status, cancelled.reason)


async def test_what_a_task_reads_from_stdin_is_empty(app: QueueTasks, running: Running) -> None:
    """The connection to the worker is not in its way; the function runs on the main thread, as libraries like it."""
    read, where = declare(app, functions.from_stdin), declare(app, functions.on_main_thread)
    async with running(app):
        assert "" == await read.add_task().result(timeout=20)
        assert await where.add_task().result(timeout=20)


async def test_the_arguments_of_the_program_are_the_workers(app: QueueTasks, running: Running) -> None:
    """A module that looks at sys.argv when it is imported sees the same."""
    arguments = declare(app, functions.arguments)
    async with running(app):
        assert sys.argv == await arguments.add_task().result(timeout=20)


@pytest.mark.parametrize("kind", ["fork", "spawn"])
async def test_a_task_may_have_processes_of_its_own(app: QueueTasks, running: Running, kind: str) -> None:
    """A pool of multiprocessing, of either kind."""
    squares = declare(app, functions.squares_of_a_pool)
    async with running(app):
        assert [1, 4, 9] == await squares.add_task(kind, [1, 2, 3]).result(timeout=30)


async def test_what_a_task_forks_does_not_speak_for_it(app: QueueTasks, running: Running, capfd: Any) -> None:
    """Its logs go to stderr, its marks nowhere: the connection is that of the task alone."""
    fork, square = declare(app, functions.fork_and_log), declare(app, functions.square)
    async with running(app):
        task = await fork.add_task()
        assert 5 == await task.result(timeout=20)
        assert 4 == await square.add_task(2).result(timeout=20)

    assert "of a grandchild" in capfd.readouterr().err


async def test_large_values_travel(app: QueueTasks, running: Running) -> None:
    """Several megabytes in one message, many at once."""
    large = declare(app, functions.large)
    async with running(app):
        tasks = await large.add_many([(3_000_000,)] * 4)

        assert [3_000_000] * 4 == [len(text) for text in await asyncio.gather(*(t.result(timeout=20) for t in tasks))]


async def test_json_travels_as_json(running: Running) -> None:
    """The app's codec is that of the process: arguments are read with it, the result is written with it."""
    app = QueueTasks("json", "memory://", serializer="json")
    mirror = declare(app, functions.mirror)
    async with running(app):
        task = await mirror.add_task(functions.Point(1, 2), "ü")
        await task.wait(timeout=20)
        record = await app.core.record(task.uuid)

    assert ("Point", [1, 2, "ü", [], False]) == tuple(task.returning)
    assert "json" == record.codec
