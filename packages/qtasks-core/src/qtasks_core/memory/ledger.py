"""The storage's half of the server: what is known of each uuid, for how long, and who waits to know more.

Nothing here is safe for threads: `MemoryServer.step` is.
"""

from __future__ import annotations

from copy import copy
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from qtasks_core.contract import FINAL
from qtasks_core.errors import AlreadyExists, AlreadyFinal, RefusedError, ResultExpiredError
from qtasks_core.memory.signal import Signal
from qtasks_core.memory.stream import Stream
from qtasks_core.memory.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from qtasks_core.contract import Event, TaskRecord

__all__ = ["Ledger", "unknown"]

_NEVER = float("inf")
_FEW_STALE = 64
_ANEW: dict[str, Any] = {
    "status": "new",
    "started_at": None,
    "finished_at": None,
    "worker": None,
    "result": None,
    "error": None,
    "reason": None,
    "progress": None,
    "dead_lettered": False,
}


class Ledger:
    """Tasks by uuid, unique keys, and final records by the time at which they expire."""

    def __init__(self, result_ttl_s: float, max_bytes: int) -> None:
        self._result_ttl_s = result_ttl_s
        self._max_bytes = max_bytes
        self._numbers = count(1)
        self._expiring: list[tuple[float, int, Task]] = []
        self._stale = 0  # entries of records that went before their time
        self._unique: dict[str, tuple[Task, float]] = {}  # the holder, and until when it holds
        self.tasks: dict[UUID, Task] = {}
        self.sweeping: dict[object, Callable[[], None]] = {}
        """Who wants to know of a sweep that finds something, and how they are told: one of them is."""

    def sweep(self, now: float) -> None:
        """Erase the final records whose time is over."""
        is_told = False
        while self._expiring and self._expiring[0][0] <= now:
            expires_at, _, task = heappop(self._expiring)
            if task.expires_at == expires_at:
                if not is_told and self.sweeping:
                    next(iter(self.sweeping.values()))()
                is_told = True
                task.expires_at = None
                self.erase(task)
            else:
                self._stale -= 1
            self._drop_stale()

    # ---------------------------------------------------------------- records come

    def add(self, record: TaskRecord, now: float) -> AlreadyExists | None:
        """Insert a record where there is none; its message may be here, elsewhere or on its way."""
        task = self.tasks.get(record.uuid)
        if task is not None and task.record is not None and not (task.final and not task.ended(record.replays)):
            return AlreadyExists(record.uuid)
        if (held := self.held_by_another(record, now)) is not None:
            return held
        task = self.open(record.uuid)
        self.begin(task, record, now)
        if record.status in FINAL:
            self._end(task, record, now)
        return None

    def open(self, uuid: UUID) -> Task:
        """Return what is known of *uuid*, a blank when nothing is."""
        task = self.tasks.get(uuid)
        if task is None:
            task = self.tasks[uuid] = Task(uuid)
        return task

    def begin(self, task: Task, record: TaskRecord | None, now: float) -> None:
        """Begin a life of *task* with that record; without one, what is final begins another life with its own."""
        if task.final:
            self._stay(task)
            task.stream = None
        if record is not None:
            task.record = copy(record)
        elif task.record is not None:
            task.record = replace(task.record, **_ANEW)
        if task.record is not None and task.record.unique_key is not None:
            self._hold(task.record.unique_key, task, task.record.unique_ttl_s, now)

    def refuse(self, body: bytes | None) -> RefusedError | None:
        """Return the answer for a message or result that is too large."""
        if body is None or len(body) <= self._max_bytes:
            return None
        return RefusedError(f"expected at most {self._max_bytes} bytes (max_message_bytes), got {len(body)}")

    def finish(self, record: TaskRecord, now: float) -> AlreadyFinal | RefusedError | None:
        """Write a final or retry record, whatever becomes of the message."""
        return self.refuse(record.result) or self.write(self.open(record.uuid), record, now)

    def write(self, task: Task, record: TaskRecord, now: float) -> AlreadyFinal | None:
        """Replace the record of *task* unless that life is over; a final one reaches whoever waits."""
        if task.ended(record.replays):
            return AlreadyFinal(f"task {task.uuid} has a final record")
        if task.expires_at is not None:  # it is final, and was sent again
            self._stay(task)
            task.stream = None
        name = task.record.task_name if task.record is not None else ""
        task.record = kept = replace(record)
        kept.task_name = kept.task_name or name
        kept.body = kept.body or task.envelope.body
        if kept.status in FINAL:
            self._end(task, kept, now)
        return None

    def _end(self, task: Task, record: TaskRecord, now: float) -> None:
        self._free(task)
        self._stay(task)
        for waiter in _taken_from(task):
            waiter.give(copy(record))
        if task.stream is not None:
            task.stream.end()
        ttl_s = self._result_ttl_s if record.ttl_s is None else record.ttl_s
        if ttl_s > 0:
            task.expires_at = now + ttl_s
            heappush(self._expiring, (task.expires_at, next(self._numbers), task))
        else:
            self.erase(task)

    def mark(self, record: TaskRecord, now: float) -> TaskRecord | None:
        """Write that a run has begun, unless it is an older one; return the record if it is final."""
        task = self.open(record.uuid)
        if task.final and task.ended(record.replays):
            return task.snapshot()
        if (record.replays, record.attempt) >= task.run:
            self.write(task, record, now)
        return None

    # ---------------------------------------------------------------- records go

    def erase(self, task: Task) -> None:
        """Drop the record, and the task if no message is left of it."""
        if task.stream is not None:
            task.stream.end()
        self._stay(task)
        task.record = task.stream = None
        self.close(task)

    def _stay(self, task: Task) -> None:
        """Forget when the record expires."""
        if task.expires_at is not None:
            task.expires_at = None
            self._stale += 1
            self._drop_stale()

    def _drop_stale(self) -> None:
        """Entries that do not count hold their tasks in memory: they must not outnumber the others."""
        if self._stale > _FEW_STALE and self._stale * 2 > len(self._expiring):
            self._expiring = [entry for entry in self._expiring if entry[2].expires_at == entry[0]]
            heapify(self._expiring)
            self._stale = 0

    def close(self, task: Task) -> None:
        """Note that the message is gone or dead: without a final record nothing is known of *task* any more."""
        if task.live or task.final:
            return
        task.record = None
        self._free(task)
        for waiter in _taken_from(task):
            waiter.fail(unknown(task.uuid))
        if task.stream is not None:
            task.stream.end()
        if task.where == "nowhere":
            self.tasks.pop(task.uuid, None)

    # ---------------------------------------------------------------- unique keys

    def held_by_another(self, record: TaskRecord, now: float) -> AlreadyExists | None:
        """Return the answer for a record whose unique key another task holds."""
        if record.unique_key is None:
            return None
        holder = self._holder(record.unique_key, now)
        return None if holder is None or holder.uuid == record.uuid else AlreadyExists(holder.uuid)

    def _holder(self, key: str, now: float) -> Task | None:
        task, until = self._unique.get(key, (None, 0.0))
        return task if until > now else None

    def _hold(self, key: str, task: Task, ttl_s: float | None, now: float) -> None:
        if self._holder(key, now) in {None, task}:
            task.unique_key = key
            self._unique[key] = (task, _NEVER if ttl_s is None else now + ttl_s)

    def _free(self, task: Task) -> None:
        key, task.unique_key = task.unique_key, None
        if key is not None and key in self._unique and self._unique[key][0] is task:
            del self._unique[key]

    # ---------------------------------------------------------------- who wants to know

    def known(self, uuid: UUID) -> Task:
        """Return the task whose end may be waited for.

        Raises:
            ResultExpiredError: Nothing is known of *uuid*.
        """
        task = self.tasks.get(uuid)
        if task is None or not (task.live or task.record is not None or task.stream is not None):
            raise unknown(uuid)
        return task

    def wait(self, task: Task) -> Signal[TaskRecord]:
        """Return what will be given the final record."""
        waiter: Signal[TaskRecord] = Signal()
        if task.waiters is None:
            task.waiters = []
        task.waiters.append(waiter)
        return waiter

    def leave(self, task: Task, waiter: Signal[TaskRecord]) -> None:
        """Note that nobody waits there any more."""
        if task.waiters is not None and waiter in task.waiters:
            task.waiters.remove(waiter)

    def append(self, event: Event) -> AlreadyFinal | None:
        """Add to the stream of a task."""
        task = self.open(event.uuid)
        if task.final:
            return AlreadyFinal(f"task {event.uuid} has a final record")
        if task.stream is None:
            task.stream = Stream()
        task.stream.append(event)
        return None

    def stream(self, uuid: UUID) -> Stream:
        """Return the stream of a task; it ends with its final record.

        Raises:
            ResultExpiredError: Nothing is known of *uuid*.
        """
        task = self.known(uuid)
        if task.stream is None:
            task.stream = Stream()
            task.stream.ended = task.final
        return task.stream


def unknown(uuid: UUID) -> ResultExpiredError:
    """Return the error for a task of which nothing is known."""
    return ResultExpiredError(f"nothing is known of task {uuid}: its result expired or was never kept")


def _taken_from(task: Task) -> list[Signal[TaskRecord]]:
    waiters, task.waiters = task.waiters, None
    return waiters or []
