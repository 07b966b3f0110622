"""Tasks that are added all the time, each waited for, while something else goes wrong."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Self

    from qtasks import QueueTasks
    from qtasks_testing.ledger import Ledger

__all__ = ["NO_CHARGE", "Load", "calls"]

NO_CHARGE = {"QTASKS_MAX_DELIVERIES": "1"}
"""For a worker: one crash charged, and the task is dead instead of run again."""
OUTAGE_S = 60.0
PAUSE_S = 0.002


def _signature(key: str, seconds: float = 0.0) -> int:
    """Stand for the task's code, which only the workers have."""
    raise NotImplementedError


def calls(client: QueueTasks) -> Any:
    """Return the task `work` as a client has it without its code."""
    return client.task(name="work")(_signature)


class Load:
    """One thread that adds tasks, alone and several at once, and one that waits for each; a context manager.

    Parameters:
        client: Where to.
        ledger: What the tasks record in; theirs are the keys "0", "1", ...
        seconds: How long each task takes.
    """

    def __init__(self, client: QueueTasks, ledger: Ledger, seconds: float = 0.005) -> None:
        self._work, self._ledger, self._seconds = calls(client), ledger, seconds
        self._stop = threading.Event()
        self._added: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(2)
        self._threads: list[Future[int]] = []

    def __enter__(self) -> Self:
        self._threads = [self._pool.submit(self._add), self._pool.submit(self._wait)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def goes_on(self, count: int = 100, timeout_s: float = PATIENCE_S) -> None:
        """Wait until so many tasks more have ended.

        Parameters:
            count: How many.
            timeout_s: Seconds that it may take.
        """
        wanted = self._ended() + count
        eventually_sync(lambda: self._ended() >= wanted or self._failed(), timeout_s, "the load goes on", 0.05)
        self._raise()

    def finish(self) -> int:
        """Stop adding, wait for the results of all that was added, and return how many there were."""
        self._stop.set()
        added, ended = (thread.result(2 * OUTAGE_S) for thread in self._threads)
        assert added == ended
        return added

    def _add(self) -> int:
        number = 0
        try:
            while not self._stop.wait(PAUSE_S):
                count = 1 + number % 5
                keys = [str(key) for key in range(number, number + count)]
                if count == 1:
                    self._added.put(self._work.add_task(keys[0], self._seconds))
                else:
                    for task in self._work.add_many([(key, self._seconds) for key in keys]):
                        self._added.put(task)
                number += count
        finally:
            self._added.put(None)
        return number

    def _wait(self) -> int:
        ended = 0
        while (task := self._added.get()) is not None:
            task.result(OUTAGE_S)
            ended += 1
        return ended

    def _ended(self) -> int:
        return len(self._ledger.counts("end"))

    def _failed(self) -> bool:
        return any(thread.done() for thread in self._threads)

    def _raise(self) -> None:
        for thread in self._threads:
            if thread.done():
                thread.result()
                raise AssertionError("the load ended too early")
