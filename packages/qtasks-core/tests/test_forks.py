"""After a fork: the child begins anew, silently, and the parent goes on as if nothing had happened.

Each test forks in a program of its own, with warnings as errors and a time limit: a lock that the child inherited in a
locked state would hang it.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest

from qtasks_core import forks
from qtasks_core.forks import after_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

PREFIX = """
import asyncio, logging, multiprocessing, os, sys, threading, time, traceback
from qtasks_core.blocking import QueueTasks
from qtasks_core.errors import ResultExpiredError

logging.getLogger("qtasks").addHandler(logging.NullHandler())  # only what Python itself says is looked at
app = QueueTasks("test", {url!r})

@app.task
def job(x: int) -> int:
    return x

async def _ready():
    engine = app.core.engine()
    await engine.ensure_started()
    return (await engine.broker.depth("default")).ready

def ready():
    return app.core.portal.call(_ready)

def fork(work):
    '''Run work in a forked child; return its process id.'''
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)

def wait(*pids):
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


SLOW = re.compile(r"Executing <.*> took [0-9.]+ seconds")  # what asyncio's debug mode says of a busy machine


def run_program(text: str, url: str = "memory://") -> str:
    """Run a program that says nothing but what it prints; return that."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c"]
    program = PREFIX.format(url=url) + textwrap.dedent(text)
    done = subprocess.run([*command, program], capture_output=True, text=True, timeout=50, check=False)
    told = [line for line in done.stderr.splitlines() if not SLOW.fullmatch(line)]
    assert ([], 0) == (told, done.returncode)
    return done.stdout


# ---------------------------------------------------------------- the register


class _Owner:
    def __init__(self) -> None:
        self.forgot = 0

    def forget(self) -> None:
        self.forgot += 1


def test_a_child_lets_every_owner_forget() -> None:
    """Once each, in the order of their registration."""
    order: list[str] = []
    first, second = _Owner(), _Owner()
    after_fork(first, lambda _: order.append("first"))
    after_fork(second, lambda _: order.append("second"))
    after_fork(first, _Owner.forget)
    forks._in_child()

    assert ["first", "second"] == order
    assert (1, 0) == (first.forgot, second.forgot)


def test_an_owner_is_not_kept_alive() -> None:
    """One that is gone is not called, and leaves nothing behind: apps may come and go."""
    gc.collect()
    before = len(forks._forgetful)
    owner = _Owner()
    after_fork(owner, _Owner.forget)
    assert before + 1 == len(forks._forgetful)
    ref = weakref.ref(owner)
    del owner
    gc.collect()

    assert ref() is None
    assert before == len(forks._forgetful)


def test_threads_may_register_at_once() -> None:
    """Apps are made in any thread; none is overlooked."""
    owners = [_Owner() for _ in range(400)]
    start = threading.Barrier(8)

    def register(part: list[_Owner]) -> None:
        start.wait()
        for owner in part:
            after_fork(owner, _Owner.forget)

    threads = [threading.Thread(target=register, args=(owners[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forks._in_child()

    assert [1] * 400 == [owner.forgot for owner in owners]


# ---------------------------------------------------------------- memory://


def test_children_of_a_preforking_server_begin_anew() -> None:
    """The parent used the app; each child has its own empty queue in memory, and the parent keeps its own."""
    out = run_program("""
        tasks = job.add_many([(1,), (2,)])

        def child():
            assert ready() == 0
            mine = job.add_task(3)
            assert ready() == 1
            assert app.get(mine.uuid).args == (3,)
            try:
                app.get(tasks[0].uuid)
            except ResultExpiredError:
                pass
            else:
                raise AssertionError("it knows the parent's task")
            app.stop()
            job.add_task(4)

        pids = [fork(child) for _ in range(4)]
        job.add_task(5)
        wait(*pids)
        assert ready() == 3
        assert app.get(tasks[0].uuid).status == "new"
        app.stop()
        print("done")
    """)

    assert "done\n" == out


def test_an_app_that_was_not_used_before_works_in_every_child() -> None:
    """Also when the parent never uses it."""
    out = run_program("""
        def child():
            job.add_task(1)
            assert ready() == 1

        wait(fork(child), fork(child))
        print("done")
    """)

    assert "done\n" == out


def test_a_child_may_fork_again() -> None:
    """Grandchildren begin anew too."""
    out = run_program("""
        job.add_task(1)

        def grandchild():
            assert ready() == 0
            job.add_task(2)

        def child():
            job.add_task(3)
            wait(fork(grandchild))
            assert ready() == 1

        wait(fork(child))
        print("done")
    """)

    assert "done\n" == out


def test_a_child_that_ends_normally_is_silent() -> None:
    """sys.exit in a child runs its exit handlers: they close nothing of the parent's."""
    out = run_program("""
        job.add_task(1)
        pid = os.fork()
        if not pid:
            sys.exit(0)
        wait(pid)
        assert ready() == 1
        pid = os.fork()
        if not pid:
            job.add_task(2)
            sys.exit(0)
        wait(pid)
        assert ready() == 1
        print("done")
    """)

    assert "done\n" == out


def test_multiprocessing_by_fork_works() -> None:
    """Processes and pools whose children use the app."""
    out = run_program("""
        def child(x):
            job.add_task(x)
            return ready()

        job.add_task(1)
        context = multiprocessing.get_context("fork")
        process = context.Process(target=child, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0
        with context.Pool(2) as pool:
            assert all(count >= 1 for count in pool.map(child, range(8)))
        assert ready() == 1
        print("done")
    """)

    assert "done\n" == out


def test_a_fork_amid_calls_of_other_threads_hangs_nobody() -> None:
    """Locks that other threads held in the moment of the fork are new in the child."""
    out = run_program("""
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                job.add_many([(1,)] * 20)
                QueueTasks("other", "memory://").add_task("x")

        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads:
            thread.start()

        def child():
            for _ in range(5):
                job.add_task(1)
            assert ready() == 5

        for _ in range(30):
            wait(fork(child))
        stop.set()
        for thread in threads:
            thread.join()
        print("done")
    """)

    assert "done\n" == out


def test_a_fork_on_a_running_loop_starts_a_loop_of_its_own() -> None:
    """A parent that is amid asyncio.run, with tasks of the app under way: the child uses asyncio.run again."""
    out = run_program("""
        async def use(expected):
            await job.aio.add_task(1)
            assert await _ready() == expected

        async def main():
            await use(1)
            waiting = asyncio.ensure_future(job.aio.add_task(1).result())
            await asyncio.sleep(0.01)

            def child():
                asyncio.events._set_running_loop(None)  # what a child does that leaves its parent's loop alone
                asyncio.run(use(1))
                assert job.add_task(1).status == "new"

            wait(fork(child))
            await use(3)
            waiting.cancel()
            await app.aio.stop()

        asyncio.run(main())
        print("done")
    """)

    assert "done\n" == out


def test_a_task_may_fork_inside_a_worker() -> None:
    """A thread task that uses multiprocessing by fork: its child uses the app, the worker goes on."""
    out = run_program("""
        def child():
            job.add_task(1)
            assert ready() == 1

        @app.task
        def forking() -> str:
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            return f"exit code {process.exitcode}"

        worker = threading.Thread(target=app.run_forever, kwargs={"concurrency": 2})
        worker.start()
        print(forking.add_task().result(timeout=30))
        print(job.add_task(7).result(timeout=30))
        app.stop()
        worker.join()
    """)

    assert "exit code 0\n7\n" == out


# ---------------------------------------------------------------- sqlite://


def test_children_share_a_database_with_their_parent(tmp_path: Path) -> None:
    """On a real server a child has its own connections: what each process adds the others see."""
    pytest.importorskip("qtasks_sqlite")
    out = run_program(
        """
        tasks = job.add_many([(1,), (2,)])

        def child():
            assert app.get(tasks[0].uuid).args == (1,)
            for x in range(10):
                job.add_task(x)
            app.stop()
            job.add_task(11)

        wait(*[fork(child) for _ in range(4)])
        assert ready() == 2 + 4 * 11
        job.add_task(3)
        assert ready() == 2 + 4 * 11 + 1
        print("done")
        """,
        f"sqlite:///{tmp_path}/queue.db",
    )

    assert "done\n" == out
