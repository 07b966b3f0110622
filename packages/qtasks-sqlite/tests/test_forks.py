"""Forks: nothing of SQLite is in use or open meanwhile, and what a child writes is as safe as what others write.

Each test forks in a program of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

PREFIX = """
import logging, os, sqlite3, threading, time
from qtasks_core.blocking import QueueTasks

logging.getLogger("qtasks").addHandler(logging.NullHandler())  # only what Python itself says is looked at
app = QueueTasks("test", "sqlite:///queue.db")

@app.task
def job(x: object) -> None: ...

def count():
    '''Count the tasks with a connection of its own, as other processes do.'''
    connection = sqlite3.connect("queue.db")
    found = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
    connection.close()
    return found

def fork(work):
    pid = os.fork()
    if pid:
        return pid
    work()
    os._exit(0)

def wait(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
DESCRIPTORS = """
def of_database():
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return sorted({os.path.basename(link) for link in links if link.endswith((".db", "-shm"))})
"""


def run_program(text: str, folder: Path) -> str:
    """Run a program that says nothing but what it prints; return that."""
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c"]
    program = PREFIX + textwrap.dedent(text)
    done = subprocess.run([*command, program], cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


def test_what_a_child_adds_outlives_its_parent(tmp_path: Path) -> None:
    """The parent closes the file, as the last that had it open before the fork: the child's log is not removed."""
    out = run_program(
        """
        job.add_task("parent")
        ready, go = os.pipe(), os.pipe()

        def child():
            job.add_task("child")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            job.add_task("child again")

        pid = fork(child)
        os.read(ready[0], 1)
        app.stop()
        os.write(go[1], b"x")
        wait(pid)
        print(count())
        """,
        tmp_path,
    )

    assert "3\n" == out


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")  # noqa: PTH112
def test_a_child_has_nothing_of_the_database_open(tmp_path: Path) -> None:
    """And neither has a parent during the fork; it opens the file again with its next call."""
    out = run_program(
        DESCRIPTORS
        + textwrap.dedent("""
        job.add_task(1)
        print(of_database())
        wait(fork(lambda: print(of_database(), flush=True)))
        print(of_database())
        job.add_task(2)
        print(of_database(), count())
        """),
        tmp_path,
    )

    opened = "['queue.db', 'queue.db-shm']"
    assert f"{opened}\n[]\n[]\n{opened} 2\n" == out


def test_a_fork_waits_for_a_transaction(tmp_path: Path) -> None:
    """One that another thread is in: it is not torn, and the child is not left with its locks."""
    out = run_program(
        """
        from qtasks_sqlite import _forks

        job.add_task("parent")
        inside, order = threading.Event(), []

        def hold():
            _forks.enter()
            inside.set()
            time.sleep(0.2)
            order.append("left")
            _forks.leave()

        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait()
        wait(fork(lambda: job.add_task("child")))
        order.append("forked")
        job.add_task("parent again")
        print(order, count())
        """,
        tmp_path,
    )

    assert "['left', 'forked'] 3\n" == out


def test_who_waits_is_woken_after_a_fork_too(tmp_path: Path) -> None:
    """The parent waits for a result while it forks; another process, which has a log made anew, ends the task."""
    out = run_program(
        """
        task = job.add_task(1)
        results = []
        thread = threading.Thread(target=lambda: results.append(task.result(timeout=30)))
        thread.start()

        def child():
            worker = threading.Thread(target=lambda: (task.result(timeout=30), app.stop()))
            worker.start()
            assert app.run_forever() == 0
            worker.join()

        wait(fork(child))
        thread.join()
        print(results)
        """,
        tmp_path,
    )

    assert "[None]\n" == out


def test_a_file_that_is_replaced_while_a_process_forks_is_not_made_anew(tmp_path: Path) -> None:
    """The parent is told, as it would be without a fork, and does not write into an empty file."""
    out = run_program(
        """
        from qtasks_core.config import QueueConfig
        from qtasks_core.errors import SendRefusedError

        app = QueueTasks("test", "sqlite:///queue.db", config=QueueConfig(send_timeout=0.2))
        app.add_task("job", 1)
        os.register_at_fork(after_in_parent=lambda: os.remove("queue.db"))
        wait(fork(lambda: None))
        try:
            app.add_task("job", 2)
        except SendRefusedError as error:
            print("was deleted or replaced" in str(error), os.path.exists("queue.db"))
        """,
        tmp_path,
    )

    assert "True False\n" == out
