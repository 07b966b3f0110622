"""The connection that writes, on a thread of its own: what comes while it commits goes into its next transaction."""

from __future__ import annotations

import sqlite3
import time
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from qtasks_core.errors import QTasksError, UnavailableError
from qtasks_sqlite._connection import LOOK_AGAIN_S, open_writer
from qtasks_sqlite._faults import is_busy, translate
from qtasks_sqlite._loops import answer_all
from qtasks_sqlite._transaction import Effects, Transaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Writer"]

T = TypeVar("T")
MOST_JOBS = 256  # one transaction: others in the queue of the file must not starve
LONGEST_PAUSE_S = 0.004


class Job(NamedTuple):
    """Something to do in a transaction."""

    run: Callable[[Transaction], Any]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Writer:
    """Run jobs in transactions and answer each when its transaction is safe.

    Parameters:
        path: The file.
        wait_s: How long another process may hold the file, in seconds.
        committed: Called on the writer's thread after a commit, before the answers.
    """

    def __init__(self, path: Path, wait_s: float, committed: Callable[[Effects], None]) -> None:
        self._path = path
        self._wait_s = wait_s
        self._committed = committed
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._durable = True
        self._connection = open_writer(path, wait_s)
        self._thread = Thread(target=self._run, name="qtasks-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(
        self, loop: asyncio.AbstractEventLoop, run: Callable[[Transaction], T], *, durable: bool = True
    ) -> asyncio.Future[T]:
        """Queue *run* and return a future of *loop*.

        Parameters:
            loop: Where the answer is wanted.
            run: Gets the transaction; its value is the answer. May run twice, the first time for nothing.
            durable: False: what it writes may be lost at power failure.
        """
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(Job(run, durable, loop, future))
        return future

    def call(self, run: Callable[[Transaction], T]) -> T:
        """Run a job and wait for it; for threads without a loop, before anybody else uses the writer."""
        answer = self._alone(Job(run, True, cast("Any", None), cast("Any", None)))
        if isinstance(answer, Exception):
            raise answer
        return cast("T", answer)

    def close(self) -> None:
        """Do what is queued, then close the connection; blocks."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            jobs, running = self._take()
            if jobs:
                self._commit(jobs)
        self._connection.close()

    def _take(self) -> tuple[list[Job], bool]:
        taken: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            taken.append(job)
            if len(taken) == MOST_JOBS or self._jobs.empty():
                return taken, True
            job = self._jobs.get()
        return taken, False

    def _commit(self, jobs: Sequence[Job]) -> None:
        try:
            answers: Sequence[Any] = self._together(jobs)
        except UnavailableError as error:
            answers = [error] * len(jobs)
        except Exception:  # noqa: BLE001  # one of them is at fault: each gets a transaction of its own
            answers = [self._alone(job) for job in jobs]
        answer_all([(job.loop, job.future, answer) for job, answer in zip(jobs, answers, strict=True)])

    def _together(self, jobs: Sequence[Job], *, careful: bool = False) -> list[Any]:
        self._begin(durable=any(job.durable for job in jobs))
        transaction = Transaction(self._connection, self._path, careful=careful)
        try:
            answers = [job.run(transaction) for job in jobs]
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        if transaction.effects:
            self._committed(transaction.effects)
        return answers

    def _alone(self, job: Job) -> Any:
        try:
            return self._together([job], careful=True)[0]
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this job's answer
            return translate(error, self._path)

    def _begin(self, *, durable: bool) -> None:
        if durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        deadline = time.monotonic() + self._wait_s
        pause = LOOK_AGAIN_S
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                fault = translate(error, self._path)
                if not is_busy(error) or time.monotonic() > deadline:
                    raise _unavailable(fault) from error
            else:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _unavailable(fault: QTasksError) -> UnavailableError:
    return fault if isinstance(fault, UnavailableError) else UnavailableError(str(fault))
