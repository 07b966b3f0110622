"""The server of `memory://`: one object per app and name, which every component of that app shares.

Any thread uses it, one atomic step at a time: `with server.step as now: ...`. Nothing waits inside a step.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qtasks_core.contract import Dead, Release, Retry
from qtasks_core.errors import AlreadyExists, ConfigError, FencedError
from qtasks_core.memory.exchange import Exchange
from qtasks_core.memory.keys import Keys
from qtasks_core.memory.ledger import Ledger
from qtasks_core.memory.task import Task
from qtasks_core.naming import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import Ack, ComponentContext, Envelope, Outcome, TaskRecord
    from qtasks_core.errors import RefusedError

__all__ = ["MemoryServer"]


class Step:
    """One atomic step: holds the lock, tells the time, and has let expire what was due by then."""

    def __init__(self, server: MemoryServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._lock = Lock()

    def __enter__(self) -> float:
        self._lock.acquire()
        try:
            now = self._clock()
            self._server.ledger.sweep(now)
            self._server.keys.sweep(now)
        except BaseException:
            self._lock.release()
            raise
        return now

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class MemoryServer:
    """State of one app's `memory://`, and what touches both a message and its record.

    Parameters:
        clock: Tells the time; whoever moves it calls touch().
        config: Limits and lifetimes.
    """

    def __init__(self, clock: Callable[[], float], config: QueueConfig) -> None:
        self.exchange = Exchange(config.dead_letter_max)
        self.ledger = Ledger(config.result_ttl, config.max_message_bytes)
        self.keys = Keys()
        self.step = Step(self, clock)

    @classmethod
    def shared(cls, url: str, context: ComponentContext) -> MemoryServer:
        """Return the server that *url* names within the app.

        Raises:
            ConfigError: The URL is not `memory://` or `memory://NAME`.
        """
        parts = urlsplit(url)
        if parts.scheme != "memory" or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(f"url: expected memory:// or memory://NAME, got {mask_url(url)!r}")
        return context.shared(("memory", parts.netloc), lambda: cls(context.clock, context.config))

    def touch(self) -> None:
        """Let everything that sleeps until a time look at the clock again."""
        with self.step:  # which tells watchers what has expired
            self.exchange.ring_everyone()

    # ---------------------------------------------------------------- a task begins

    def accept(self, record: TaskRecord | None, envelope: Envelope, now: float) -> Exception | None:
        """Take in a message, with its record or without one."""
        ledger = self.ledger
        if (refusal := ledger.refuse(envelope.body)) is not None:
            return refusal
        task = ledger.tasks.get(envelope.uuid)
        if task is not None and not task.may_begin(envelope.replays):
            return AlreadyExists(envelope.uuid)
        if record is not None and (held := ledger.held_by_another(record, now)) is not None:
            return held
        if task is None:
            task = ledger.tasks[envelope.uuid] = Task(envelope.uuid)
        self._begin(task, record, envelope, now)
        return None

    def replay(self, task: Task, envelope: Envelope, now: float) -> None:
        """Send a dead letter again."""
        self._begin(task, None, envelope, now)

    def _begin(self, task: Task, record: TaskRecord | None, envelope: Envelope, now: float) -> None:
        if task.where == "dead":
            self.exchange.queue(task.envelope.queue).exhume(task)
        self.ledger.begin(task, record, now)
        self.exchange.enqueue(task, envelope, now)

    # ---------------------------------------------------------------- a delivery ends

    def settle(self, outcome: Outcome, record: TaskRecord | None, now: float) -> Exception | None:
        """Apply follow-ups, the record if there is one, and the verdict, if the delivery is still owned."""
        task = self.exchange.owned(outcome.delivery)
        if task is None:
            return FencedError("the delivery was taken over, or settled before")
        if (refusal := self._refuse(outcome, record)) is not None:
            return refusal
        answer = self.ledger.write(task, record, now) if record is not None else None
        if answer is None:  # the follow-ups of an end that does not count do not count either
            for its_record, envelope in outcome.sends:
                self.accept(its_record, envelope, now)  # AlreadyExists: they were sent before
        self.exchange.take_back(task)
        self._apply(task, outcome.verdict, now)
        return answer

    def _refuse(self, outcome: Outcome, record: TaskRecord | None) -> RefusedError | None:
        refuse = self.ledger.refuse
        refusal = refuse(record.result) if record is not None else None
        for _, envelope in outcome.sends:
            refusal = refusal or refuse(envelope.body)
        return refusal

    def _apply(self, task: Task, verdict: Ack | Retry | Release | Dead, now: float) -> None:
        if isinstance(verdict, Dead):
            for dropped in self.exchange.bury(task, verdict.reason, now):
                self.ledger.close(dropped)
        elif isinstance(verdict, Retry) and not task.final:  # what is final does not run again
            self.exchange.enqueue(task, verdict.envelope, now)
        elif isinstance(verdict, Release) and not task.final:
            self.exchange.put_back(task, verdict.delay_s, now)
        else:
            task.lose_message()
        self.ledger.close(task)

    # ---------------------------------------------------------------- a message goes

    def cancel(self, uuid: UUID, reason: str, now: float) -> bool | None:
        """Remove a waiting message and write the final record."""
        task = self.ledger.tasks.get(uuid)
        if task is not None and task.final:
            return False
        if task is None or task.where != "waiting" or (record := task.snapshot()) is None:
            return None
        self.exchange.queue(task.envelope.queue).remove(task)
        record.status, record.reason, record.finished_at, record.updated_at = "cancel", reason, now, now
        self.ledger.write(task, record, now)
        return True

    def purge(self, queue: str, cursors: Sequence[str] | None, *, dead: bool) -> int:
        """Delete waiting messages, and with them the records that they are; or dead letters."""
        lines = self.exchange.queue(queue)
        there = lines.listing(dead=dead)
        chosen = [there[cursor] for cursor in dict.fromkeys(there if cursors is None else cursors) if cursor in there]
        for task in chosen:
            (lines.exhume if dead else lines.remove)(task)
            self.ledger.close(task)
        return len(chosen)

    def clear_messages(self) -> None:
        """Delete all messages and dead letters; what is held is lost."""
        self.exchange.clear()
        for task in list(self.ledger.tasks.values()):
            if task.where != "nowhere":
                task.lose_message()
                self.ledger.close(task)

    def clear_records(self) -> None:
        """Delete all records; messages that wait or are lent are the records of their tasks and stay."""
        for task in list(self.ledger.tasks.values()):
            self.ledger.erase(task)
