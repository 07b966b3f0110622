"""The way from blocking code to the engine: threads, contexts, interruptions, closing, and the interpreter's exit."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from qtasks_core import portal as portal_module
from qtasks_core.blocking import QueueTasks
from qtasks_core.errors import BlockingCallError
from qtasks_core.portal import Portal

numbers = itertools.count()  # a thread of an earlier test may still be ending
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Engine:
    """Remembers on which loops it was closed."""

    def __init__(self) -> None:
        self.closed_on: list[asyncio.AbstractEventLoop] = []
        self.is_closed_by: str | None = None

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        assert asyncio.get_running_loop() is loop
        self.closed_on.append(loop)
        self.is_closed_by = threading.current_thread().name


@pytest.fixture
def engine() -> Engine:
    """Return what the portal closes."""
    return Engine()


@pytest.fixture
def portal(engine: Engine) -> Iterator[Portal]:
    """Give a portal that is closed at the end."""
    one = Portal(f"qtasks test {next(numbers)}", engine.close)
    yield one
    one.close()


async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), threading.current_thread()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


# ---------------------------------------------------------------- calls


def test_a_call_runs_on_one_loop_in_a_daemon_thread(portal: Portal) -> None:
    """The loop is started on first use, its thread does not hold up the exit, and it has the app's name."""
    assert portal._name not in {thread.name for thread in threading.enumerate()}
    loop, thread = portal.call(where)

    assert (portal._name, True) == (thread.name, thread.daemon)
    assert (loop, thread) == portal.call(where)


def test_results_and_errors_cross(portal: Portal) -> None:
    """As if the function had been called here."""

    async def divide(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x // y

    assert 2 == portal.call(divide, 4, 2)
    with pytest.raises(ZeroDivisionError):
        portal.call(divide, 1, 0)


def test_a_function_that_cannot_even_be_called_is_an_error(portal: Portal) -> None:
    """Not a call that never returns."""
    wrong: Any = where
    with pytest.raises(TypeError, match="positional argument"):
        portal.call(wrong, 1)
    with pytest.raises(TypeError, match="coroutine"):
        portal.call(wrong.__class__, (lambda: None).__code__, {})


def test_many_threads_call_at_once(portal: Portal) -> None:
    """All share the one loop; each gets its own result."""
    start = threading.Barrier(32)

    async def double(x: int) -> tuple[int, asyncio.AbstractEventLoop]:
        await asyncio.sleep(0.0001)
        return 2 * x, asyncio.get_running_loop()

    def calls(number: int) -> list[tuple[int, asyncio.AbstractEventLoop]]:
        start.wait()
        return [portal.call(double, number * 1000 + step) for step in range(50)]

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(calls, range(32)))

    assert [[2 * (number * 1000 + step) for step in range(50)] for number in range(32)] == [
        [value for value, _ in one] for one in found
    ]
    assert 1 == len({loop for one in found for _, loop in one})


def test_contextvars_go_along(portal: Portal) -> None:
    """A copy of the caller's: read in the coroutine, and what it sets stays there."""

    async def read_and_set(value: str) -> str:
        before = variable.get()
        variable.set(value)
        await asyncio.sleep(0)
        assert value == variable.get()
        return before

    def call(value: str) -> tuple[str, str]:
        variable.set(value)
        return portal.call(read_and_set, "changed"), variable.get()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, [str(number) for number in range(50)]))

    assert [(str(number), str(number)) for number in range(50)] == found
    assert "unset" == portal.call(read_and_set, "x")


async def test_a_call_on_a_loops_thread_is_refused(portal: Portal) -> None:
    """It would block the loop; the error names the way out, and nothing is started."""
    with pytest.raises(BlockingCallError) as caught:
        portal.call(where, hint="task.aio.add_task(…)")

    assert (
        "a blocking call on a thread that runs an event loop would block the loop; await task.aio.add_task(…) instead"
    ) == str(caught.value)
    assert portal._name not in {thread.name for thread in threading.enumerate()}


async def test_a_thread_beside_a_loop_may_call(portal: Portal) -> None:
    """Only the loop's own thread is refused."""
    loop, _ = await asyncio.to_thread(portal.call, where)

    assert loop is not asyncio.get_running_loop()


def _use_everything(app: QueueTasks) -> dict[str, Callable[[], object]]:
    @app.task
    def job() -> None: ...

    done = job.add_task()
    return {
        "task.aio.add_task(…)": job.add_task,
        "task.aio.add_many(…)": lambda: job.add_many([()]),
        "app.aio.add_task(…)": lambda: app.add_task("job"),
        "app.aio.get(…)": lambda: app.get(done.uuid),
        "task.aio.result(…)": done.result,
        "task.aio.wait(…)": done.wait,
        "task.aio.refresh(…)": done.refresh,
    }


def test_every_blocking_call_names_its_awaitable_twin() -> None:
    """Whatever of the blocking face is used in a coroutine."""
    with QueueTasks("test", "memory://") as app:

        async def on_the_loop(use: Callable[[], object]) -> str:
            with pytest.raises(BlockingCallError) as caught:
                use()
            return str(caught.value)

        for hint, use in _use_everything(app).items():
            assert f"; await {hint} instead" in asyncio.run(on_the_loop(use))


# ---------------------------------------------------------------- a worker's loop


def test_a_lent_loop_is_used_instead_of_an_own_one(portal: Portal) -> None:
    """A worker's tasks use the worker's connections; afterwards there is an own loop again."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="worker")
    thread.start()
    portal.lend(loop)
    lent = portal.call(where)
    portal.close()
    still_lent = portal.call(where)
    portal.lend(None)
    own, own_thread = portal.call(where)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()

    assert (loop, thread) == lent == still_lent
    assert own is not loop
    assert portal._name == own_thread.name


# ---------------------------------------------------------------- interruptions


class _InterruptError(BaseException):
    """Like KeyboardInterrupt, which pytest would take for its own."""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX signals")
def test_a_wait_that_is_interrupted_cancels_its_coroutine(portal: Portal) -> None:
    """Ctrl-C while waiting: the caller is out at once, and nothing goes on behind its back."""
    began, out, cancelled = threading.Event(), threading.Event(), threading.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt() -> None:
        began.wait()
        while not out.wait(0.01):  # one that comes just before the thread falls asleep does not wake it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handler(*_: object) -> None:
        if not out.is_set():
            out.set()
            raise _InterruptError

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(_InterruptError):
            portal.call(endless)
        interrupting.join()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert cancelled.wait(10)
    assert portal.call(where)


# ---------------------------------------------------------------- closing


def test_close_closes_the_engine_on_its_loop_and_ends_the_thread(portal: Portal, engine: Engine) -> None:
    """And does nothing when there is none, or it is closed already."""
    portal.close()
    assert [] == engine.closed_on
    loop, thread = portal.call(where)
    portal.close()
    portal.close()
    thread.join(10)

    assert [loop] == engine.closed_on
    assert portal._name == engine.is_closed_by
    assert not thread.is_alive()
    assert loop.is_closed()


def test_a_closed_portal_is_used_again(portal: Portal, engine: Engine) -> None:
    """With a new loop each time."""
    loops = []
    for _ in range(5):
        loops.append(portal.call(where)[0])
        portal.close()

    assert loops == engine.closed_on
    assert 5 == len(set(loops))


def test_close_ends_calls_that_wait(portal: Portal) -> None:
    """Another thread that waits for a result is told; it does not wait for ever."""
    began = threading.Event()

    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.call, endless)
        assert began.wait(10)
        portal.close()
        error = waiting.exception(10)

    assert CancelledError is type(error)
    assert "the app was stopped while this call waited" == str(error)


def test_a_call_that_meets_a_close_is_answered(portal: Portal) -> None:
    """Threads call while another one closes again and again: a result or CancelledError, never silence."""
    stop = threading.Event()
    cancelled = finished = 0

    async def short() -> int:
        await asyncio.sleep(0.0002)
        return 1

    def calls() -> tuple[int, int]:
        good = bad = 0
        while not stop.is_set():
            try:
                good += portal.call(short)
            except CancelledError:
                bad += 1
        return good, bad

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(calls) for _ in range(8)]
        for _ in range(300):
            time.sleep(0.001)
            portal.close()
        stop.set()
        for one in running:
            good, bad = one.result(30)
            finished, cancelled = finished + good, cancelled + bad

    assert finished + cancelled > 0


def test_a_close_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not answer holds nobody; the log says so, and the thread ends."""

    async def hang(_: asyncio.AbstractEventLoop) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(portal_module, "_EXIT_TIMEOUT_S", 0.05)
    portal = Portal("qtasks hanging", hang)
    _, thread = portal.call(where)
    with caplog.at_level(logging.WARNING):
        portal.close()
    thread.join(10)

    assert not thread.is_alive()
    assert "the connections were not closed within 0.05 s: a server is away or hangs" in caplog.text


def test_a_close_that_fails_is_the_callers_error_and_still_ends_the_thread() -> None:
    """What went wrong is not hidden, and no loop is left behind."""

    async def fail(_: asyncio.AbstractEventLoop) -> None:
        raise OSError("broken")

    portal = Portal("qtasks failing", fail)
    _, thread = portal.call(where)
    with pytest.raises(OSError, match="broken"):
        portal.close()
    thread.join(10)

    assert not thread.is_alive()


# ---------------------------------------------------------------- exit

PREFIX = """
import sys, threading
from qtasks_core.blocking import QueueTasks
app = QueueTasks("test", "memory://")
@app.task
def job(x): ...
task = job.add_task(1)
"""


def run_program(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with warnings as errors; a hanging exit is a failure."""
    program = PREFIX + textwrap.dedent(text)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("app.stop()", 0),
        ("app.stop(); job.add_task(2)", 0),
        ("sys.exit(3)", 3),
        ("threading.Thread(target=task.result, daemon=True).start()", 0),
        ("threading.Thread(target=job.add_many, args=([(1,)] * 1000,)).start()", 0),
        ("import atexit; atexit.register(job.add_task, 2)", 0),
        ("others = [QueueTasks(str(n), 'memory://') for n in range(5)]; [o.add_task('x') for o in others]", 0),
    ],
)
def test_an_interpreter_ends_quietly(program: str, code: int) -> None:
    """Without a word, whatever was left open and whoever still waits in a daemon thread."""
    done = run_program(program)

    assert ("", "", code) == (done.stdout, done.stderr, done.returncode)


def test_an_interpreter_that_ends_by_an_error_shows_that_error_only() -> None:
    """The traceback is the program's own."""
    done = run_program("raise ValueError('mine')")

    assert 1 == done.returncode
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ValueError: mine\n")
    assert 1 == done.stderr.count("Traceback")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_while_waiting_for_a_result_is_a_keyboard_interrupt() -> None:
    """The main thread is out at once, and the interpreter ends as Python always does after Ctrl-C."""
    done = run_program(
        """
        import os, signal
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            task.result()
        except KeyboardInterrupt:
            print("out")
        """
    )

    assert ("out\n", "", 0) == (done.stdout, done.stderr, done.returncode)
