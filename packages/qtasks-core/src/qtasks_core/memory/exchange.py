"""The broker's half of the server: which message waits where, who holds which, who is idle.

Nothing here is safe for threads: `MemoryServer.step` is.

A message that becomes ready rings one idle receiver that may take it. A receiver that takes and leaves something rings
the next, and so does one that was rung and then cancelled: no message is missed, and no herd comes for one.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from qtasks_core.contract import Delivery
from qtasks_core.memory.queue import Queue
from qtasks_core.memory.task import NO_DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtasks_core.contract import Envelope
    from qtasks_core.memory.session import Receiver, Session
    from qtasks_core.memory.task import Task

__all__ = ["Exchange"]

logger = logging.getLogger("qtasks.memory")

_FRONT = float("-inf")
_LAST = (float("inf"),)
_RUNG = object()
_WARN_EACH_S = 1.0


class Exchange:
    """Queues, sessions and idle receivers."""

    def __init__(self, dead_letter_max: int) -> None:
        self._dead_letter_max = dead_letter_max
        self._numbers = count(1)
        self._queues: dict[str, Queue] = {}
        self._sessions: dict[str, Session] = {}
        self._idle: dict[Receiver, None] = {}  # the longest idle first

    def queue(self, name: str) -> Queue:
        """Return the queue of that name; every name has one."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name)
        return queue

    @property
    def names(self) -> tuple[str, ...]:
        """The queues that have had a message."""
        return tuple(self._queues)

    # ---------------------------------------------------------------- messages

    def enqueue(self, task: Task, envelope: Envelope, now: float) -> None:
        """Let *envelope* wait as the message of *task*: ready at once, or when it is due."""
        due = envelope.due_at
        if envelope.delay_s > 0:
            due = now + envelope.delay_s
            envelope = replace(envelope, delay_s=0.0, due_at=due)
        ready_at = now if due is None or due < now else due
        task.envelope, task.crashes, task.suspect = envelope, 0, False
        task.place = (envelope.priority, ready_at, next(self._numbers))
        self._wait(task, ready_at, now)

    def _wait(self, task: Task, ready_at: float, now: float) -> None:
        task.where = "waiting"
        queue = self.queue(task.envelope.queue)
        if ready_at <= now:
            queue.ready.push(task.place, task)
            self._ring_one(queue.name)
            return
        key = (ready_at, task.place[2])
        queue.delayed.push(key, task)
        if queue.delayed.head() is key:  # every sleeper has its timer set for the next due time
            self._ring_all(lambda receiver: receiver.takes_from(queue.name))

    def bury(self, task: Task, reason: str, now: float) -> list[Task]:
        """Move a message that is in nobody's hands to the dead letters; return those that had to go for it."""
        queue = self.queue(task.envelope.queue)
        task.where, task.letter, task.reason = "dead", next(self._numbers), reason
        queue.dead[task.letter] = task
        dropped = list(islice(queue.dead.values(), max(0, len(queue.dead) - self._dead_letter_max)))
        for oldest in dropped:
            queue.exhume(oldest)
        if dropped and now - queue.warned_at >= _WARN_EACH_S:
            queue.warned_at = now
            text = "queue %r is full of dead letters (%d): the oldest is dropped"
            asyncio.get_running_loop().call_soon(logger.warning, text, queue.name, len(queue.dead))  # not in a step
        return dropped

    def clear(self) -> None:
        """Forget every message; what is held is lost."""
        for session in self._sessions.values():
            session.tell_lost([task.delivery for task in session.held.values()])
            session.held.clear()
        self._queues.clear()

    # ---------------------------------------------------------------- loans

    def take(self, session: Session, limit: int, per_queue: Mapping[str, int], now: float) -> list[Delivery]:
        """Lend up to *limit* ready messages: the lowest priority first, then the longest ready."""
        room = {}
        for name in session.queues:
            queue = self.queue(name)
            queue.promote(now)
            if queue.ready and (most := per_queue.get(name, limit)) > 0:
                room[queue] = most
        taken: list[Delivery] = []
        while room and len(taken) < limit:
            queue = min(room, key=_head) if len(room) > 1 else next(iter(room))
            taken.append(self._lend(queue, session, now))
            room[queue] -= 1
            if not (room[queue] and queue.ready):
                del room[queue]
        if taken:
            self.pass_on(session.queues)
        return taken

    def _lend(self, queue: Queue, session: Session, now: float) -> Delivery:
        task = queue.ready.pop()
        envelope = task.envelope
        number = next(self._numbers)
        task.delivery = Delivery(
            envelope,
            (session.worker, session.epoch, number),
            envelope.crashes + task.crashes,
            task.suspect or task.final,  # the message of a final task is a duplicate
        )
        task.where, task.worker, task.taken_at = "lent", session.worker, now
        session.held[number] = task
        queue.running += 1
        return task.delivery

    def owned(self, delivery: Delivery) -> Task | None:
        """Return the task if *delivery* still holds it."""
        token: Any = delivery.token
        worker, epoch, number = token
        session = self._sessions.get(worker)
        return session.held.get(number) if session is not None and session.epoch == epoch else None

    def take_back(self, task: Task) -> None:
        """End the loan of a task that is owned; what becomes of its message is said next."""
        token: Any = task.delivery.token
        del self._sessions[token[0]].held[token[2]]
        self._end_loan(task)

    def put_back(self, task: Task, delay_s: float, now: float) -> None:
        """Let a message that was taken back wait again, at its old place."""
        self._wait(task, now + delay_s if delay_s > 0 else now, now)

    def _end_loan(self, task: Task) -> None:
        self.queue(task.envelope.queue).running -= 1
        task.delivery, task.worker = NO_DELIVERY, None

    # ---------------------------------------------------------------- workers

    def register(self, session: Session, now: float) -> None:
        """Begin a life of a worker; one that goes on under that name ends."""
        self.evict(session.worker, now)
        session.epoch = next(self._numbers)
        self._sessions[session.worker] = session

    def knows(self, session: Session) -> bool:
        """Whether this life of the worker goes on."""
        return self._sessions.get(session.worker) is session

    def listen(self, session: Session, queues: Iterable[str]) -> None:
        """Set what *session* reads: its receivers look again, and what they were rung for rings others."""
        before, session.queues = session.queues, tuple(dict.fromkeys(queues))
        self._ring_all(lambda receiver: receiver.session is session)
        self.pass_on(before)

    def evict(self, worker: str, now: float) -> int:
        """End a worker's life: what it holds is charged one crash and goes to the front of its priority."""
        session = self._sessions.get(worker)
        if session is None:
            return 0
        session.tell_lost([task.delivery for task in session.held.values()])
        for task in session.held.values():
            task.crashes += 1
            task.suspect = True
            task.place = (task.place[0], _FRONT, task.place[2])
        return self.leave(session, now)

    def leave(self, session: Session, now: float) -> int:
        """End a worker's life: what it holds goes back to its place."""
        if not self.knows(session):
            return 0
        del self._sessions[session.worker]
        self._ring_all(lambda receiver: receiver.session is session)
        held, session.held = session.held, {}
        for task in held.values():
            self._end_loan(task)
            self._wait(task, now, now)
        self.pass_on(session.queues)  # its receivers may have been rung
        return len(held)

    # ---------------------------------------------------------------- bells

    def idle(self, receiver: Receiver) -> float | None:
        """Note that *receiver* waits to be rung; return when the next message for it is due."""
        self._idle[receiver] = None
        lines = [self.queue(name).delayed for name in receiver.session.queues if receiver.takes_from(name)]
        return min((key[0] for line in lines if (key := line.head()) is not None), default=None)

    def busy(self, receiver: Receiver) -> bool:
        """Note that *receiver* waits no more; return whether it was rung."""
        return self._idle.pop(receiver, _RUNG) is _RUNG

    def pass_on(self, queues: Iterable[str]) -> None:
        """Ring one idle receiver for each queue that has something ready."""
        if self._idle:
            for name in queues:
                if self.queue(name).ready:
                    self._ring_one(name)

    def ring_everyone(self) -> None:
        """Let every idle receiver look again."""
        self._ring_all(lambda _: True)

    def _ring_one(self, queue: str) -> None:
        for receiver in self._idle:
            if receiver.takes_from(queue):
                del self._idle[receiver]
                receiver.give()
                return

    def _ring_all(self, which: Callable[[Receiver], bool]) -> None:
        for receiver in [receiver for receiver in self._idle if which(receiver)]:
            del self._idle[receiver]
            receiver.give()


def _head(queue: Queue) -> tuple[float, ...]:
    return queue.ready.head() or _LAST
