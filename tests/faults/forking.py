"""A program that uses the app and then forks, as pre-forking servers and `multiprocessing` do.

`python -m faults.forking NAME`: each child, and the parent beside them, adds tasks and waits for their results.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable

from faults.tasks import work

BUSY = 2
CHILDREN = 4
TASKS = 10


def serve(who: str) -> None:
    """Add tasks one by one and all at once, and wait for what comes of them."""
    for number in range(TASKS):
        work.add_task(f"{who}-one-{number}").result(timeout=30)
    for task in work.add_many([(f"{who}-many-{number}",) for number in range(TASKS)]):
        task.result(timeout=30)


def prefork() -> None:
    """Fork as gunicorn does; children end by sys.exit, and with it by their exit handlers."""
    children = [_fork(lambda number=number: serve(f"child-{number}")) for number in range(CHILDREN)]  # type: ignore[misc]
    serve("parent")
    for pid in children:
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refork() -> None:
    """Fork a child that has used the app and forks again; the one in the middle goes on, and so does the first."""

    def middle() -> None:
        serve("middle")
        grandchild = _fork(lambda: serve("grandchild"))
        serve("middle-again")
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])

    pid = _fork(middle)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    serve("parent")


def pool() -> None:
    """Use a pool of forked processes, and single ones."""
    context = multiprocessing.get_context("fork")
    with context.Pool(CHILDREN) as workers:
        workers.map(serve, [f"pool-{number}" for number in range(CHILDREN)])
    process = context.Process(target=serve, args=("process",))
    process.start()
    serve("parent")
    process.join()
    assert 0 == process.exitcode


def _fork(child: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    child()  # what it raises ends the child, and its parent reads the exit code
    sys.exit(0)


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


if __name__ == "__main__":
    waiting = work.add_task("waiting", 1.0)
    waiter = threading.Thread(target=waiting.result, args=(30,))
    waiter.start()
    busy = [Busy(f"busy-{number}") for number in range(BUSY)]
    for one in busy:
        one.start()
    {"prefork": prefork, "refork": refork, "pool": pool}[sys.argv[1]]()
    waiter.join()
    print(*[one.stop() for one in busy])
