"""The connection that reads, on a thread of its own: answers questions, and looks for what others have written."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from qtasks_sqlite._connection import Connection, prepare_reader
from qtasks_sqlite._doorbell import open_doorbell
from qtasks_sqlite._faults import is_busy, translate
from qtasks_sqlite._loops import answer_all

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["IDLE", "PATIENT", "URGENT", "Looker", "Reader"]

T = TypeVar("T")
IDLE, PATIENT, URGENT = range(3)
HEARING_TICK_S = 0.04  # the net under the bell
DEAF_TICK_S = 0.02
FAULT_REST_S = 0.5
BURST_LOOKS, BURST_PAUSE_S = 20, 0.0003  # the bell rings before the commit can be seen
CALM = 4  # looking takes at most one part in so many of the thread's time while others write all the time,
SLACK_S = 0.005  # counted over a little while: the first looks after a quiet time need not wait

logger = logging.getLogger("qtasks.sqlite")


class Looker(Protocol):
    """Somebody who may be waiting for a change of the file."""

    interest: int
    """IDLE, PATIENT (a tick late is fine) or URGENT. Who raises it calls Reader.poke()."""

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:
        """Look, on the reader's thread.

        Parameters:
            connection: The reader's.
            changed: False: nobody wrote since the last look, this one is for who came since.

        Returns:
            When to look again even if nobody writes, as an epoch time.
        """
        ...


class Question(NamedTuple):
    """Something to read."""

    ask: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Reader:
    """Answer questions, and call lookers when the file has changed.

    Parameters:
        path: The file.
        wait_s: How long another process may hold the file, in seconds.
        clock: The time now, in epoch seconds.
        lookers: The live list of those who may wait.
    """

    def __init__(self, path: Path, wait_s: float, clock: Callable[[], float], lookers: Sequence[Looker]) -> None:
        self._path = path
        self._clock = clock
        self._lookers = lookers
        self._questions: SimpleQueue[Question] = SimpleQueue()
        self._running = True
        self._poked = False
        self._version = -1
        self._due = math.inf
        self._rest_until = 0.0
        self._fault = ""
        self._bell = open_doorbell()
        self._connection = Connection(path, wait_s, prepare_reader, self._opened)
        self._thread = Thread(target=self._run, name="qtasks-sqlite-reader", daemon=True)
        self._thread.start()

    def ask(self, loop: asyncio.AbstractEventLoop, ask: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a question and return a future of *loop*."""
        future: asyncio.Future[T] = loop.create_future()
        self._questions.put(Question(ask, loop, future))
        self._bell.wake()
        return future

    def poke(self) -> None:
        """Look soon, whether somebody wrote or not: a looker's interest has grown."""
        if not self._poked:
            self._poked = True
            self._bell.wake()

    def close(self) -> None:
        """Answer what is queued, then close the connection; blocks."""
        self._running = False
        self._bell.wake()
        self._thread.join()
        self._connection.close()
        self._bell.close()

    def _run(self) -> None:
        while self._running:
            interest = max((looker.interest for looker in self._lookers), default=IDLE)
            heard = self._bell.wait(self._nap(interest), listen=interest == URGENT and not self._resting())
            self._answer()
            if interest != IDLE or self._poked:
                self._look_if_needed(heard=heard)
        self._answer()

    def _nap(self, interest: int) -> float | None:
        if self._poked:
            return 0.0
        if interest == IDLE:
            return None
        if self._resting():
            return self._rest_until - time.monotonic()
        tick = HEARING_TICK_S if self._bell.hears else DEAF_TICK_S
        return min(tick, max(0.0, self._due - self._clock()))

    def _resting(self) -> bool:
        return self._rest_until > time.monotonic()

    def _opened(self) -> None:
        self._version = -1
        self._bell.watch(self._path.with_name(self._path.name + "-wal"))

    def _answer(self) -> None:
        while True:
            try:
                question = self._questions.get_nowait()
            except Empty:
                return
            try:
                answer = self._use(question.ask)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is this question's answer
                answer = translate(error, self._path)
            answer_all([(question.loop, question.future, answer)])

    def _look_if_needed(self, *, heard: bool) -> None:
        poked, self._poked = self._poked, False
        try:
            changed = self._changed(BURST_LOOKS if heard else 1)
            if changed or poked or self._due <= self._clock():
                self._look(changed=changed)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look may be better
            self._look_later(error)
        else:
            self._fault = ""

    def _look_later(self, error: Exception) -> None:
        """Look again for all that wait, after a rest: a fault that stays takes neither the processor nor the log."""
        busy = is_busy(error)
        if not busy and str(error) != self._fault:
            self._fault = str(error)
            foreseen = isinstance(error, sqlite3.Error)
            logger.error("%s: looking for changes failed: %s", self._path, error, exc_info=not foreseen)
        self._version = -1
        self._rest_until = time.monotonic() + (DEAF_TICK_S if busy else FAULT_REST_S)

    def _changed(self, looks: int) -> bool:
        for look in range(looks):
            if look:
                time.sleep(BURST_PAUSE_S)
            version = self._use(_data_version)
            if version != self._version:
                self._version = version
                return True
            if not self._running or self._poked:
                return False
        return False

    def _look(self, *, changed: bool) -> None:
        start = time.monotonic()
        lookers = [looker for looker in list(self._lookers) if looker.interest != IDLE]
        dues = self._use(lambda connection: [looker.look(connection, changed=changed) for looker in lookers])
        self._due = min((due for due in dues if due is not None), default=math.inf)
        self._rest_until = max(self._rest_until, start - SLACK_S) + (time.monotonic() - start) * (1 + CALM)

    def _use(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection.enter()
        try:
            return ask(connection)
        finally:
            self._connection.leave()


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
