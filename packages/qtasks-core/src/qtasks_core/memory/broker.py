"""The broker of `memory://`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Limits
from qtasks_core.memory.component import MemoryComponent
from qtasks_core.memory.session import Receiver, Session
from qtasks_core.memory.storage import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from uuid import UUID

    from qtasks_core.contract import (
        ComponentContext,
        Delivery,
        Depth,
        Envelope,
        Outcome,
        PerItem,
        Results,
        TaskRecord,
    )

__all__ = ["MemoryBroker"]

_NO_LIMITS: Mapping[str, int] = {}


class MemoryBroker(MemoryComponent):
    """Moves messages within one process, with every native ability. See `MemoryComponent` for the parameters."""

    capabilities: ClassVar[Capability] = (
        Capability.RECEIVE | Capability.PRIORITY | Capability.UNIQUE | Capability.FENCED | Capability.CAS
    )

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.limits = Limits(context.config.max_message_bytes, context.config.flush_items)
        self._session: Session | None = None

    async def stop(self) -> None:
        """Give back, uncharged, what is still held."""
        with self.server.step as now:
            if self._session is not None:
                self.server.exchange.leave(self._session, now)
            self._session = None

    async def clear(self) -> None:
        """Delete all messages and dead letters; what is held is lost."""
        with self.server.step:
            self.server.clear_messages()

    # ---------------------------------------------------------------- sending

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Take in messages whose records, if any, are kept elsewhere."""
        with self.server.step as now:
            return [self.server.accept(None, envelope, now) for envelope in batch]

    def fuses(self, storage: Results) -> bool:
        """Whether *storage* is of the same server."""
        return isinstance(storage, MemoryStorage) and storage.server is self.server

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        """Take in messages with their records."""
        with self.server.step as now:
            return [self.server.accept(record, envelope, now) for record, envelope in batch]

    # ---------------------------------------------------------------- receiving

    async def subscribe(
        self,
        queues: Sequence[str],
        worker: str,
        slots: int,  # noqa: ARG002  # receive() is told how many are free
        lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        """Set what receive() reads. A life that goes on elsewhere under the name of *worker* ends as by a crash."""
        exchange = self.server.exchange
        with self.server.step as now:
            if self._session is not None and exchange.knows(self._session) and self._session.worker == worker:
                self._session.lost = lost
                exchange.listen(self._session, queues)
                return
            if self._session is not None:
                exchange.leave(self._session, now)
            self._session = Session(worker, queues, lost, asyncio.get_running_loop())
            exchange.register(self._session, now)

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit messages; a worker that was evicted begins a new life here."""
        if limit < 1:
            raise ValueError(f"limit: expected 1 or more, got {limit}")
        per_queue = _NO_LIMITS if per_queue is None else per_queue
        exchange = self.server.exchange
        while True:
            with self.server.step as now:
                session = self._living(now)
                taken = exchange.take(session, limit, per_queue, now)
                if taken:
                    return taken
                receiver = Receiver(session, per_queue)
                due = exchange.idle(receiver)
            await self._sleep(receiver, None if due is None else due - now)

    def _living(self, now: float) -> Session:
        if self._session is None:
            raise RuntimeError("subscribe() comes before receive()")
        if not self.server.exchange.knows(self._session):
            self._session = self._session.again()
            self.server.exchange.register(self._session, now)
        return self._session

    async def _sleep(self, receiver: Receiver, seconds: float | None) -> None:
        try:
            await receiver.wait(seconds)
        except BaseException:
            with self.server.step:
                if self.server.exchange.busy(receiver):
                    self.server.exchange.pass_on(receiver.session.queues)
            raise
        with self.server.step:
            self.server.exchange.busy(receiver)

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups and verdicts; the records of *batch* are written elsewhere."""
        with self.server.step as now:
            return [self.server.settle(outcome, None, now) for outcome in batch]

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups, records and verdicts."""
        with self.server.step as now:
            return [self.server.settle(outcome, outcome.record, now) for outcome in batch]

    async def evict(self, worker: str) -> int:
        """Take over what *worker* holds, as if it had crashed; return how much that was."""
        with self.server.step as now:
            return self.server.exchange.evict(worker, now)

    # ---------------------------------------------------------------- looking and mending

    async def depth(self, queue: str) -> Depth:
        """Count the messages of *queue*."""
        with self.server.step as now:
            lines = self.server.exchange.queue(queue)
            lines.promote(now)
            return lines.depth()

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        """Yield (cursor, envelope, reason) of what waits, in the order of taking, or of what is dead, oldest first."""
        with self.server.step as now:
            lines = self.server.exchange.queue(queue)
            lines.promote(now)
            listing = lines.listing(dead=dead, after=after)
            found = [(cursor, task.envelope, task.reason) for cursor, task in listing.items()]
        for item in found:
            yield item

    async def replay(
        self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None = None
    ) -> int:
        """Send dead letters again, as *rewrite* makes them."""
        with self.server.step:
            lines = self.server.exchange.queue(queue)
            chosen = dict.fromkeys(lines.listing(dead=True) if cursors is None else cursors)
            found = {cursor: task.envelope for cursor in chosen if (task := lines.letter(cursor)) is not None}
        again = {cursor: rewrite(envelope) for cursor, envelope in found.items()}  # foreign code: outside the lock
        with self.server.step as now:
            there = [(cursor, task) for cursor in again if (task := lines.letter(cursor)) is not None]
            for cursor, task in there:
                self.server.replay(task, again[cursor], now)
            return len(there)

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        """Delete what waits, or what is dead."""
        with self.server.step:
            return self.server.purge(queue, cursors, dead=dead)

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        """Cancel waiting tasks."""
        with self.server.step as now:
            return [self.server.cancel(uuid, reason, now) for uuid in uuids]
