"""Threads for `def` tasks: started when needed, never more than allowed, and nothing that a job raises ends one."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qtasks_core.errors import Postpone
from qtasks_core.worker.threads import ThreadRunner

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def named(prefix: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]


async def until(condition: Any) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[ThreadRunner]:
    """Give a runner of four threads, named after the test."""
    one = ThreadRunner(asyncio.get_running_loop(), 4, request.node.name)
    yield one
    one.close()


async def test_a_function_runs_in_a_daemon_thread(runner: ThreadRunner) -> None:
    """With its arguments; what it returns comes back; its thread never holds up an exit."""

    def job(x: int, y: int = 0) -> tuple[int, threading.Thread]:
        return x + y, threading.current_thread()

    value, thread = await runner.run(job, (1,), {"y": 2})

    assert 3 == value
    assert thread.daemon
    assert "test_a_function_runs_in_a_daemon_thread-1" == thread.name


async def test_threads_are_started_when_they_are_needed(runner: ThreadRunner) -> None:
    """One job after the other needs one thread; a burst as many as are allowed."""
    prefix = runner._name
    for _ in range(20):
        await runner.run(int, (), {})
    assert 1 == len(named(prefix))
    barrier = threading.Barrier(4)
    await asyncio.gather(*(runner.run(barrier.wait, (), {}) for _ in range(4)))

    assert 4 == len(named(prefix))


async def test_more_jobs_than_threads_wait_their_turn(runner: ThreadRunner) -> None:
    """Never more at once than allowed, and as many as allowed; taken in order, all done.

    A thread may be held up between taking a job and running it, so a job may be seen late, but never more than
    three places early: the three others that the threads may hold.
    """
    lock, at_once, most, begun = threading.Lock(), 0, 0, list[int]()
    first_four = threading.Barrier(4)

    def job(number: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            begun.append(number)
        if number < 4:
            first_four.wait(50.0)
        with lock:
            at_once -= 1
        return number

    found = await asyncio.gather(*(runner.run(job, (number,), {}) for number in range(100)))

    assert list(range(100)) == found
    assert 4 == most
    assert all(number - place < 4 for place, number in enumerate(begun))


async def test_without_a_thread_a_job_is_postponed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, runner: ThreadRunner
) -> None:
    """The system has no more of them, or the interpreter ends: that is no fault of the task."""
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _refused)
        with pytest.raises(Postpone):
            await runner.run(int, (), {})

    assert "a thread for tasks cannot be started, 0 are there: can't start new thread" in caplog.text
    assert 0 == await runner.run(int, (), {})


async def test_the_threads_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch, runner: ThreadRunner) -> None:
    """When no further one can be started."""
    await runner.run(int, (), {})
    monkeypatch.setattr(threading.Thread, "start", _refused)

    assert list(range(20)) == await asyncio.gather(*(runner.run(int, (number,), {}) for number in range(20)))


def _refused(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_bursts_of_short_jobs_lose_no_answer() -> None:
    """One wake-up serves many answers; none is left lying when the next jobs come."""
    runner = ThreadRunner(asyncio.get_running_loop(), 8, "burst")
    async with asyncio.timeout(50):
        for size in (1, 2, 3, 500, 1, 1000, 7):
            found = await asyncio.gather(*(runner.run(lambda x: x * 2, (number,), {}) for number in range(size)))
            assert [number * 2 for number in range(size)] == found

        async def one_after_the_other(count: int) -> int:
            return sum([await runner.run(lambda x: x, (number,), {}) for number in range(count)])

        assert [sum(range(200))] * 16 == await asyncio.gather(*(one_after_the_other(200) for _ in range(16)))
    runner.close()


class _BrokenError(BaseException):
    """Neither Exception nor anything that Python knows."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), ValueError),
        (SystemExit(3), SystemExit),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (GeneratorExit(), GeneratorExit),
        (_BrokenError(), _BrokenError),
        (asyncio.CancelledError(), asyncio.CancelledError),
        (StopIteration(3), RuntimeError),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else None,
)
async def test_whatever_a_job_raises_is_its_callers(
    runner: ThreadRunner, error: BaseException, expected: type[BaseException]
) -> None:
    """Also what would end a thread, or a loop; the thread goes on with the next job."""

    def job() -> None:
        raise error

    caught: BaseException | None = None
    try:
        await runner.run(job, (), {})
    except BaseException as raised:  # noqa: BLE001  # SystemExit must not reach the loop
        caught = raised

    assert expected is type(caught)
    assert caught is not None
    assert error is (caught.__cause__ if expected is RuntimeError else caught)
    assert 1 == await runner.run(lambda: 1, (), {})
    assert 1 == len(named(runner._name))


async def test_the_traceback_shows_the_job(runner: ThreadRunner) -> None:
    """Where it was raised is what a user needs to see."""

    def job() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        await runner.run(job, (), {})

    assert "job" == caught.traceback[-1].name


async def test_contextvars_go_along(runner: ThreadRunner) -> None:
    """A copy of the caller's for each job; what it sets, nobody else sees."""

    def job() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    async def call(value: str) -> tuple[str, str]:
        variable.set(value)
        return await runner.run(job, (), {}), variable.get()

    found = await asyncio.gather(*(asyncio.create_task(call(str(number))) for number in range(50)))

    assert [(str(number), str(number)) for number in range(50)] == found
    assert "unset" == await runner.run(job, (), {})


async def test_a_cancelled_caller_leaves_its_job_running(runner: ThreadRunner) -> None:
    """A thread cannot be stopped: its answer is dropped, and afterwards it takes other jobs."""
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        began.set()
        go_on.wait()
        ended.set()

    caller = asyncio.create_task(runner.run(job, (), {}))
    await until(began.is_set)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not ended.is_set()
    go_on.set()
    await until(ended.is_set)
    await until(lambda: 0 == runner._busy)

    assert 1 == await runner.run(lambda: 1, (), {})
    assert 1 == len(named(runner._name))


async def test_a_job_that_was_cancelled_before_it_began_is_never_called(runner: ThreadRunner) -> None:
    """It may run on another worker by now."""
    go_on, called = threading.Event(), list[int]()
    blocking = [asyncio.create_task(runner.run(go_on.wait, (), {})) for _ in range(4)]
    waiting = [asyncio.create_task(runner.run(called.append, (number,), {})) for number in range(6)]
    await until(lambda: 4 == len(named(runner._name)))
    for task in waiting[::2]:
        task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*blocking, *waiting, return_exceptions=True)

    assert [1, 3, 5] == sorted(called)
    await until(lambda: 0 == runner._busy)


async def test_an_idle_thread_keeps_nothing_alive(runner: ThreadRunner) -> None:
    """Arguments and results of the last job are gone when its caller has dropped them."""

    class Thing: ...

    argument, result = Thing(), Thing()
    refs = [weakref.ref(argument), weakref.ref(result)]
    await runner.run(lambda _, box: box.pop(), (argument, [result]), {})
    del argument, result

    def gone() -> bool:
        gc.collect()
        return [None, None] == [ref() for ref in refs]

    await until(gone)


async def test_close_ends_idle_threads_and_busy_ones_after_their_job() -> None:
    """The caller of a busy one still gets its answer."""
    runner = ThreadRunner(asyncio.get_running_loop(), 3, "closing")
    barrier, go_on = threading.Barrier(3), threading.Event()
    await asyncio.gather(*(runner.run(barrier.wait, (), {}) for _ in range(3)))
    busy = asyncio.create_task(runner.run(go_on.wait, (), {}))
    await asyncio.sleep(0)
    runner.close()
    await until(lambda: 1 == len(named("closing")))
    go_on.set()

    assert await busy is True
    await until(lambda: not named("closing"))


def test_a_job_that_outlives_its_loop_ends_quietly() -> None:
    """Nobody waits for it any more; its thread ends without a word."""
    go_on = threading.Event()

    async def main() -> None:
        runner = ThreadRunner(asyncio.get_running_loop(), 1, "outliving")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await runner.run(go_on.wait, (), {})

    asyncio.run(main())
    (thread,) = named("outliving")
    go_on.set()
    thread.join(10)

    assert not thread.is_alive()


async def test_a_thread_that_is_left_is_replaced(runner: ThreadRunner) -> None:
    """All four hang, their callers go, and four further jobs run at once; the left ones are counted until they end."""
    gate, began = threading.Event(), list[int]()

    def hang() -> None:
        began.append(1)
        gate.wait(30)

    hanging = [asyncio.ensure_future(runner.run(hang, (), {})) for _ in range(4)]
    await until(lambda: 4 == len(began))
    for one in hanging:
        one.cancel()
    await asyncio.wait(hanging)
    assert 4 == runner.abandoned

    barrier = threading.Barrier(4)
    async with asyncio.timeout(10):
        await asyncio.gather(*(runner.run(barrier.wait, (), {}) for _ in range(4)))
    gate.set()

    await until(lambda: 0 == runner.abandoned)
    await until(lambda: 4 == len(named(runner._name)))
    assert [1] * 20 == await asyncio.gather(*(runner.run(lambda: 1, (), {}) for _ in range(20)))


async def test_a_job_that_had_not_begun_abandons_no_thread(runner: ThreadRunner) -> None:
    """It waits for a thread, its caller goes, and it is never called."""
    gate, called, began = threading.Event(), threading.Event(), list[int]()

    def hang() -> None:
        began.append(1)
        gate.wait(30)

    running = [asyncio.ensure_future(runner.run(hang, (), {})) for _ in range(4)]
    await until(lambda: 4 == len(began))
    waiting = asyncio.ensure_future(runner.run(called.set, (), {}))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert 0 == runner.abandoned
    gate.set()
    await asyncio.gather(*running)
    assert 1 == await runner.run(lambda: 1, (), {})
    assert not called.is_set()


async def test_a_left_job_ends_with_its_runner() -> None:
    """close() does not wait for it, and its thread does not take another job."""
    runner = ThreadRunner(asyncio.get_running_loop(), 2, "left")
    gate, began, ended = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        began.set()
        gate.wait(30)
        ended.set()

    left = asyncio.ensure_future(runner.run(job, (), {}))
    await until(began.is_set)
    left.cancel()
    await asyncio.wait([left])
    runner.close()
    assert not ended.is_set()
    gate.set()

    await until(lambda: not named("left"))
    assert ended.is_set()
