"""The connection that writes, on a thread of its own: what comes while it commits goes into its next transaction."""

from __future__ import annotations

import os
import sqlite3
import time
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, cast

from qtasks_core.errors import UnavailableError
from qtasks_sqlite._connection import LOOK_AGAIN_S, Connection, prepare_writer
from qtasks_sqlite._faults import is_busy, translate
from qtasks_sqlite._loops import answer_all
from qtasks_sqlite._transaction import Effects, Transaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Container, Sequence
    from pathlib import Path

__all__ = ["Writer"]

T = TypeVar("T")
MOST_JOBS = 256  # one transaction: others in the queue of the file must not starve
LONGEST_PAUSE_S = 0.004
NO_FILE = -1
CHECK_S = 0.5  # how often the file is looked at
sync = getattr(os, "fdatasync", os.fsync)  # what synchronous = FULL would do in each commit


class Job:
    """Something to do in a transaction."""

    __slots__ = ("durable", "future", "items", "loop", "run")

    def __init__(
        self,
        run: Callable[[Transaction], Any],
        durable: bool,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.run = run
        self.durable = durable
        self.loop = loop
        self.future = future
        self.items = 0  # that could be applied one by one; known after a careful run


class _JobError(Exception):
    """A job raised; the transaction is for the others."""

    def __init__(self, job: Job, cause: Exception) -> None:
        super().__init__(str(cause))
        self.job = job
        self.cause = cause


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
        self._jobs: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._outgoing: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        self._check_at = 0.0
        self._log = NO_FILE
        self._connection = Connection(path, wait_s, prepare_writer, self._opened)
        self._thread = Thread(target=self._run, name="qtasks-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(
        self, loop: asyncio.AbstractEventLoop, run: Callable[[Transaction], T], *, durable: bool = True
    ) -> asyncio.Future[T]:
        """Queue *run* and return a future of *loop*. Called on that loop.

        Parameters:
            loop: Where the answer is wanted.
            run: Gets the transaction; its value is the answer. May run twice, the first time for nothing.
            durable: False: what it writes may be lost at power failure.
        """
        future: asyncio.Future[T] = loop.create_future()
        job = Job(run, durable, loop, future)
        waiting = self._outgoing.get(loop)
        if waiting is None:
            # What one turn of the loop asks for shares a transaction, and the writer is woken once.
            self._outgoing[loop] = [job]
            loop.call_soon(self._send, loop)
        else:
            waiting.append(job)
        return future

    @property
    def replaced(self) -> bool:
        """Whether the file was deleted or replaced: what is written into it would be lost to everybody else."""
        return self._connection.replaced

    def call(self, run: Callable[[Transaction], T]) -> T:
        """Run a job and wait for it; for threads without a loop, before anybody else uses the writer."""
        answer = self._commit([Job(run, True, cast("Any", None), cast("Any", None))])[0]
        if isinstance(answer, Exception):
            raise answer
        return cast("T", answer)

    def close(self) -> None:
        """Do what is queued, then close the connection; blocks."""
        for loop in list(self._outgoing):
            self._send(loop)
        self._jobs.put(None)
        self._thread.join()

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self._outgoing.pop(loop, None)
        if jobs:
            self._jobs.put(jobs)

    def _run(self) -> None:
        running = True
        while running:
            jobs, running = self._take()
            if jobs:
                self._answer(jobs, self._commit(jobs))
        self._close_log()
        self._connection.close()

    def _opened(self) -> None:
        """Open the log as well: since the connection was closed it may have been removed and made anew."""
        self._close_log()
        self._log = os.open(self._path.with_name(self._path.name + "-wal"), os.O_RDWR | getattr(os, "O_BINARY", 0))

    def _close_log(self) -> None:
        log, self._log = self._log, NO_FILE
        if log != NO_FILE:
            os.close(log)

    def _answer(self, jobs: Sequence[Job], answers: Sequence[Any]) -> None:
        """Answer what need not be durable at once, so that its loop works while the disk does; the rest after."""
        pairs = list(zip(jobs, answers, strict=True))
        answer_all([(job.loop, job.future, answer) for job, answer in pairs if not job.durable])
        durable = [(job.loop, job.future, answer) for job, answer in pairs if job.durable]
        if not durable:
            return
        try:
            if any(not isinstance(answer, Exception) for _, _, answer in durable):
                sync(self._log)
        except OSError as error:
            fault = translate(error, self._path)
            durable = [(loop, future, fault) for loop, future, _ in durable]
        answer_all(durable)

    def _take(self) -> tuple[list[Job], bool]:
        taken: list[Job] = []
        jobs = self._jobs.get()
        while jobs is not None:
            taken += jobs
            if len(taken) >= MOST_JOBS or self._jobs.empty():
                return taken, True
            jobs = self._jobs.get()
        return taken, False

    def _commit(self, jobs: Sequence[Job]) -> list[Any]:
        """Run jobs in one transaction, and without those that cannot be run; return an answer for each."""
        done: dict[Job, Any] = {}
        careful: set[Job] = set()
        while left := [job for job in jobs if job not in done]:
            try:
                done.update(zip(left, self._together(left, careful), strict=True))
            except _JobError as error:
                if error.job in careful:
                    done[error.job] = self._apart(error.job, error.cause)
                careful.add(error.job)
            except Exception as error:  # noqa: BLE001  # not even begun, or not committed
                if _concerns_all(error):
                    done.update(dict.fromkeys(left, translate(error, self._path)))
                elif len(left) > 1:
                    done.update({job: self._commit([job])[0] for job in left})
                elif left[0] in careful:
                    done[left[0]] = self._apart(left[0], error)
                careful.update(left)
        return [done[job] for job in jobs]

    def _apart(self, job: Job, error: Exception) -> Any:
        """Run each item in a transaction of its own: where one needs more space than there is, its mates may need less.

        SQLite gives up the whole transaction when it lacks space, whatever its savepoints.
        """
        if job.items < 2:  # noqa: PLR2004  # it has been tried alone
            return translate(error, self._path)
        answers: list[Any] = []
        for place in range(job.items):
            try:
                answers.append(self._together([job], {job}, place)[0][place])
            except Exception as raised:  # noqa: BLE001  # it is this item's answer
                cause = raised.cause if isinstance(raised, _JobError) else raised
                rest = job.items - place if _concerns_all(cause) else 1
                answers += [translate(cause, self._path)] * rest
            if len(answers) == job.items:
                break
        return answers

    def _together(self, jobs: Sequence[Job], careful: Container[Job], only: int | None = None) -> list[Any]:
        connection = self._begin()
        try:
            transaction = Transaction(connection, self._path)
            transaction.only = only
            answers = [self._run_job(transaction, job, job in careful) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            self._connection.leave()
        if transaction.effects:
            self._committed(transaction.effects)
        return answers

    def _run_job(self, transaction: Transaction, job: Job, careful: bool) -> Any:
        transaction.careful = careful
        transaction.items = 0
        try:
            return job.run(transaction)
        except Exception as error:
            raise _JobError(job, error) from error
        finally:
            job.items = transaction.items

    def _begin(self) -> sqlite3.Connection:
        """Begin a transaction; a fork may come in between, but not before its end."""
        self._check_file()
        deadline = time.monotonic() + self._wait_s
        pause = LOOK_AGAIN_S
        while True:
            connection = self._connection.enter()
            try:
                connection.execute("BEGIN IMMEDIATE")
            except BaseException as error:
                self._connection.leave()
                if not isinstance(error, sqlite3.Error) or not is_busy(error) or time.monotonic() > deadline:
                    raise
            else:
                return connection
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    def _check_file(self) -> None:
        now = time.monotonic()
        if now > self._check_at:
            if self.replaced:
                raise UnavailableError(f"{str(self._path)!r} was deleted or replaced while it was open: start again")
            self._check_at = now + CHECK_S


def _concerns_all(error: Exception) -> bool:
    return is_busy(error) or isinstance(error, UnavailableError)
