"""Runs that do not come to their own end: crashes, timeouts, cancels, the stop of the worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from processes import functions
from processes.bench import declare, is_alive, pids_in, pool_of
from qtasks_core.errors import TaskCancelledError, TaskFailedError, TaskProcessError
from qtasks_core.task import Task
from qtasks_core.worker.processes import ProcessTaskExecutor
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from processes.bench import Running
    from qtasks_core.aio import QueueTasks


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize(
    ("function", "argument", "how"),
    [
        ("die", 0, "ended with exit code 0"),
        ("die", 3, "ended with exit code 3"),
        ("kill_itself", int(signal.SIGKILL), "was killed by SIGKILL"),
        ("kill_itself", int(signal.SIGSEGV), "was killed by SIGSEGV"),
        ("kill_itself", int(signal.SIGABRT), "was killed by SIGABRT"),
    ],
)
async def test_a_crash_fails_its_own_task(
    app: QueueTasks, running: Running, function: str, argument: int, how: str
) -> None:
    """The error says how the process ended; the next task has another process."""
    crash, pid = declare(app, getattr(functions, function)), declare(app, functions.process_id)
    async with running(app):
        before = await pid.add_task().result(timeout=20)
        with pytest.raises(TaskFailedError, match=f"TaskProcessError: the process that ran the task {how}") as caught:
            await crash.add_task(argument).result(timeout=20)

        assert before != await pid.add_task().result(timeout=20)
    assert "runner.py" not in caught.value.traceback


async def test_a_crash_touches_no_neighbour(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """A task of another process, and those of the worker itself, go on."""
    crash, wait = declare(app, functions.die), declare(app, functions.wait_for)

    @app.task
    async def here() -> int:
        return os.getpid()

    async with running(app):
        neighbour = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "began"))
        (pid,) = await pids_in(tmp_path / "began")
        for _ in range(3):
            with pytest.raises(TaskFailedError, match="exit code 9"):
                await crash.add_task(9).result(timeout=20)
        assert is_alive(pid)
        assert os.getpid() == await here.add_task().result(timeout=20)
        (tmp_path / "go").touch()

        assert "went on" == await neighbour.result(timeout=20)


async def test_a_crash_is_tried_again_like_any_error(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """With retry=, and with retry_on_exc=TaskProcessError too."""
    once = declare(app, functions.die_once, name="once", retry=1, retry_backoff=0)
    named = declare(app, functions.die_once, name="named", retry=1, retry_backoff=0, retry_on_exc=[TaskProcessError])
    other = declare(app, functions.die_once, name="other", retry=1, retry_backoff=0, retry_on_exc=[OSError])
    async with running(app):
        assert 2 == await once.add_task(str(tmp_path / "one")).result(timeout=20)
        assert 2 == await named.add_task(str(tmp_path / "two")).result(timeout=20)
        with pytest.raises(TaskFailedError, match="exit code 7"):
            await other.add_task(str(tmp_path / "three")).result(timeout=20)


async def test_a_process_killed_from_outside_fails_its_task_alone(
    app: QueueTasks, running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the kernel does when memory runs out; the log has it in one line."""
    hang, square = declare(app, functions.hang), declare(app, functions.square)
    async with running(app):
        task = await hang.add_task(str(tmp_path / "pid"))
        (pid,) = await pids_in(tmp_path / "pid")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TaskFailedError, match="was killed by SIGKILL"):
            await task.result(timeout=20)
        assert 9 == await square.add_task(3).result(timeout=20)

    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert [f"task hang {task.uuid} failed: the process that ran the task was killed by SIGKILL"] == [
        one.getMessage() for one in errors
    ]
    assert [None] == [one.exc_info for one in errors]


async def test_an_idle_process_that_dies_is_replaced(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """No task is harmed."""
    pid = declare(app, functions.process_id)
    async with running(app):
        before = await pid.add_task().result(timeout=20)
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: "an idle process for tasks was killed by SIGKILL" in caplog.text, 20.0)

        assert before != await pid.add_task().result(timeout=20)


async def test_a_task_that_closes_its_connection_is_killed(app: QueueTasks, running: Running) -> None:
    """What its process returns could not be heard; it does not hold its place."""
    close, square = declare(app, functions.close_everything), declare(app, functions.square)
    async with running(app):
        with pytest.raises(TaskFailedError, match="was killed by SIGKILL"):
            await close.add_task().result(timeout=20)

        assert 4 == await square.add_task(2).result(timeout=20)


# ---------------------------------------------------------------- timeouts


@pytest.mark.parametrize("function", ["hang", "hang_async", "hold_the_gil"])
async def test_a_timeout_kills(app: QueueTasks, running: Running, tmp_path: Path, function: str) -> None:
    """Whatever it does, C code that lets nothing else run included; another process takes its place."""
    slow, square = declare(app, getattr(functions, function), timeout=0.3), declare(app, functions.square)
    async with running(app):
        task = await slow.add_task(str(tmp_path / "pid"))
        with pytest.raises(TaskFailedError, match=r"TaskTimeoutError: the run took longer than its timeout of 0\.3 s"):
            await task.result(timeout=20)
        (pid,) = await pids_in(tmp_path / "pid")
        await eventually(lambda: not is_alive(pid), 20.0)

        assert 4 == await square.add_task(2).result(timeout=20)


async def test_a_timeout_kills_what_the_task_has_started(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """A program that the task runs does not go on without it."""
    slow = declare(app, functions.hang_with_helper, timeout=0.5)
    async with running(app):
        task = await slow.add_task(str(tmp_path / "pids"))
        with pytest.raises(TaskFailedError, match="longer than its timeout"):
            await task.result(timeout=20)
        pids = await pids_in(tmp_path / "pids")
        await eventually(lambda: not any(map(is_alive, pids)), 20.0)

    assert 2 == len(pids)


async def test_waiting_for_a_process_is_not_the_runs_time(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """A timeout begins when a process begins."""
    executor = ProcessTaskExecutor(processes=1)
    wait = declare(app, functions.wait_for, executor)
    quick = declare(app, functions.square, executor, timeout=0.5)
    async with running(app):
        blocker = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "began"))
        await pids_in(tmp_path / "began")
        waiting = await quick.add_task(3)
        await asyncio.sleep(1.0)  # longer than its timeout; nothing else could show that this does not count
        (tmp_path / "go").touch()
        assert "went on" == await blocker.result(timeout=20)

        assert 9 == await waiting.result(timeout=20)


async def test_a_call_may_have_a_timeout_of_its_own(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """It goes before the task's."""
    slow = declare(app, functions.hang, timeout=50)
    async with running(app):
        with pytest.raises(TaskFailedError, match=r"longer than its timeout of 0\.2 s"):
            await slow.with_options(timeout=0.2).add_task(str(tmp_path / "pid")).result(timeout=20)


# ---------------------------------------------------------------- cancels


async def test_a_cancel_kills(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """The task ends as cancelled, with the reason; its process is gone."""
    hang = declare(app, functions.hang)
    async with running(app):
        task = await hang.add_task(str(tmp_path / "pid"))
        (pid,) = await pids_in(tmp_path / "pid")
        assert await task.cancel("enough")
        with pytest.raises(TaskCancelledError, match="enough"):
            await task.result(timeout=20)
        await eventually(lambda: not is_alive(pid), 20.0)


async def test_a_cancel_of_what_waits_for_a_process_kills_nobody(
    running: Running, app: QueueTasks, tmp_path: Path
) -> None:
    """It has none; the one that runs goes on."""
    wait = declare(app, functions.wait_for, ProcessTaskExecutor(processes=1))
    async with running(app):
        busy = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "began"))
        await pids_in(tmp_path / "began")
        waiting = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "never"))
        await _until_process(waiting)
        assert await waiting.cancel("too late")
        with pytest.raises(TaskCancelledError, match="too late"):
            await waiting.result(timeout=20)
        (tmp_path / "go").touch()

        assert "went on" == await busy.result(timeout=20)
    assert not (tmp_path / "never").exists()


async def _until_process(task: Task[Any]) -> None:
    async def runs() -> bool:
        return "process" == (await task.refresh()).status

    await eventually(runs, 20.0)


# ---------------------------------------------------------------- the stop of the worker


async def test_a_stop_lets_tasks_end(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """Within shutdown_timeout."""
    wait = declare(app, functions.wait_for)
    async with running(app, shutdown_timeout=20.0):
        task = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "began"))
        await pids_in(tmp_path / "began")
        (tmp_path / "go").touch()

    assert "went on" == await task.result(timeout=5)
    await app.stop()


async def test_a_stop_kills_what_does_not_end(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """The task is given back, uncharged and as the same attempt, and another worker runs it."""
    hang, wait = declare(app, functions.hang, name="hang"), declare(app, functions.wait_for, name="wait")
    async with running(app, shutdown_timeout=0.1):
        tasks = [
            await hang.add_task(str(tmp_path / "hang")),
            await wait.add_task(str(tmp_path / "go"), str(tmp_path / "wait")),
        ]
        pids = [*await pids_in(tmp_path / "hang"), *await pids_in(tmp_path / "wait")]

    assert [False, False] == list(map(is_alive, pids))
    assert ["new", "new"] == [(await task.refresh()).status for task in tasks]
    (tmp_path / "go").touch()
    async with running(app, shutdown_timeout=0.1):
        assert "went on" == await tasks[1].result(timeout=20)
        assert 1 == (await tasks[1].refresh()).attempt


async def test_idle_processes_end_by_themselves(app: QueueTasks, running: Running) -> None:
    """When the worker stops they are told to, and what a program does at its exit is done."""
    executor = ProcessTaskExecutor()
    square = declare(app, functions.square, executor)
    async with running(app):
        await square.add_task(1).result(timeout=20)
        (process,) = pool_of(executor)._members

    assert 0 == process.ended.result()


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_whole_group_do_not_end_a_task(
    app: QueueTasks, running: Running, number: signal.Signals
) -> None:
    """Ctrl-C, or a SIGTERM to all processes of a service: the worker decides what becomes of its tasks."""
    signalled = declare(app, functions.send_itself)
    async with running(app):
        assert "went on" == await signalled.add_task(int(number)).result(timeout=20)


async def test_programs_of_a_task_listen_to_signals(app: QueueTasks, running: Running) -> None:
    """What a process does not listen to is not handed on to what it starts."""
    task = declare(app, functions.signal_of_a_helper)
    async with running(app):
        assert -signal.SIGTERM == await task.add_task().result(timeout=20)


async def test_forked_children_of_a_task_listen_to_signals(app: QueueTasks, running: Running) -> None:
    """From their first moment, as pools of multiprocessing need it."""
    task = declare(app, functions.fork_and_terminate)
    async with running(app):
        assert {-signal.SIGTERM} == await task.add_task(100).result(timeout=40)
