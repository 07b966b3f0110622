"""A program that uses the app and then forks, as pre-forking servers and `multiprocessing` do.

`python -m faults.forking WAY`: each child, and the parent beside them, adds tasks and waits for their results.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from functools import partial

from faults.tasks import app, work

BUSY = 2
CHILDREN = 4
FORKS = 12
TASKS = 10


def serve(who: str) -> None:
    """Add tasks one by one and all at once, and wait for what comes of them."""
    for number in range(TASKS):
        work.add_task(f"{who}-one-{number}").result(timeout=30)
    for task in work.add_many([(f"{who}-many-{number}",) for number in range(TASKS)]):
        task.result(timeout=30)


def prefork() -> None:
    """Fork as gunicorn does; children end by sys.exit, and with it by their exit handlers."""
    children = [_fork(partial(serve, f"child-{number}")) for number in range(CHILDREN)]
    serve("parent")
    for pid in children:
        _wait(pid)


def refork() -> None:
    """Fork a child that uses the app and forks again; the one in the middle goes on, and so does the first."""

    def middle() -> None:
        serve("middle")
        grandchild = _fork(partial(serve, "grandchild"))
        serve("middle-again")
        _wait(grandchild)

    _wait(_fork(middle))
    serve("parent")


def pool() -> None:
    """Use a pool of forked processes, and a single one."""
    context = multiprocessing.get_context("fork")
    with context.Pool(CHILDREN) as workers:
        workers.map(serve, [f"pool-{number}" for number in range(CHILDREN)])
    process = context.Process(target=serve, args=("process",))
    process.start()
    serve("parent")
    process.join()
    assert 0 == process.exitcode


def storm() -> None:
    """Fork again and again, each time a child that does one thing and ends."""
    for number in range(FORKS):
        _wait(_fork(lambda key=f"storm-{number}": work.add_task(key).result(timeout=30)))  # type: ignore[misc]


def orphan() -> None:
    """Leave the app alone that a child goes on using, until it is killed."""
    added, left = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        work.add_task("first")
        os.write(added[1], b"x")
        os.read(left[0], 1)
        work.add_task("second")
        os.kill(os.getpid(), 9)
    os.read(added[0], 1)
    app.stop()
    os.write(left[1], b"x")
    os.waitpid(pid, 0)


class Busy(threading.Thread):
    """Keeps the app busy, so that each fork comes amid the work of another thread."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._stops = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._stops.is_set():
            work.add_task(f"{self.name}-{self.count}")
            self.count += 1

    def stop(self) -> int:
        """Stop, and return how many tasks were added."""
        self._stops.set()
        self.join()
        return self.count


def amid_work(way: Callable[[], None]) -> None:
    """Fork while other threads add tasks, and one waits for a result; print how many were added."""
    waiter = threading.Thread(target=work.add_task("waiting", 1.0).result, args=(30,))
    waiter.start()
    busy = [Busy(f"busy-{number}") for number in range(BUSY)]
    for one in busy:
        one.start()
    way()
    waiter.join()
    print(*[one.stop() for one in busy])


def _fork(child: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    child()  # what it raises ends the child, and its parent reads the exit code
    sys.exit(0)


def _wait(pid: int) -> None:
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


WAYS = {"prefork": prefork, "refork": refork, "pool": pool, "storm": storm}

if __name__ == "__main__":
    if sys.argv[1] == "orphan":
        work.add_task("before")
        orphan()
    else:
        amid_work(WAYS[sys.argv[1]])
