"""The storage: records of tasks, in the same rows as their messages where the broker shares the file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability
from qtasks_core.errors import ResultExpiredError
from qtasks_sqlite import _records, _streams
from qtasks_sqlite._adding import add, new_record
from qtasks_sqlite._component import SqliteComponent
from qtasks_sqlite._items import encode_each
from qtasks_sqlite._reader import IDLE, URGENT
from qtasks_sqlite._rows import DEAD, FINAL, SETTLED, to_micros
from qtasks_sqlite._values import MOST_ROWS
from qtasks_sqlite._waiters import Waiters

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Event, PerItem, Status, TaskRecord
    from qtasks_sqlite._database import Database
    from qtasks_sqlite._transaction import Effects, Transaction

__all__ = ["SqliteStorage"]


class SqliteStorage(SqliteComponent):
    """Keep records in one file, for several processes of one machine.

    Parameters:
        url: `sqlite:///relative.db` or `sqlite:////absolute/path.db`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or its folder is not there.
    """

    capabilities: ClassVar[Capability] = Capability.UNIQUE
    address: str | None = None  # waiters look into the file themselves

    async def on_start(self) -> None:
        """Begin without waiters."""
        self._waiters = Waiters(self._database)
        self._readers: set[asyncio.Event] = set()

    async def clear(self) -> None:
        """Delete all records of this namespace."""
        ns = self._database.ns
        await self._database.write(lambda transaction: _clear(transaction, ns))

    def shares(self, database: Database) -> bool:
        """Tell whether it keeps its records in that file and namespace."""
        return self._database is database

    def on_sweep(self, tell: Callable[[], None] | None) -> None:
        """Set who is told of a sweep."""
        if tell is None:
            self._database.sweeping.pop(self, None)
        else:
            self._database.sweeping[self] = tell

    # ------------------------------------------------------------ writing

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Insert records where there are none."""
        now, ns = self._context.clock(), self._database.ns
        rows = encode_each(batch, lambda record: new_record(record, now))
        answers: list[Exception | None] = []
        for start in range(0, len(rows), MOST_ROWS):
            part = rows[start : start + MOST_ROWS]
            answers += await self._database.write(lambda transaction, part=part: add(transaction, ns, part, now))  # type: ignore[misc]
        return rows.merge(answers)

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Write final or retry records and wake who waits for them."""
        now, ns, ttl = self._context.clock(), self._database.ns, self._context.config.result_ttl
        answers: list[Exception | None] = []
        for start in range(0, len(batch), MOST_ROWS):
            part = batch[start : start + MOST_ROWS]
            answers += await self._database.write(
                lambda transaction, part=part: _records.finish(transaction, ns, part, now, ttl)  # type: ignore[misc]
            )
        return answers

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        """Write status process; return, for each, the record that is final already."""
        now, ns = self._context.clock(), self._database.ns
        return await self._database.write(
            lambda transaction: [_records.mark(transaction, ns, record, now) for record in batch], durable=False
        )

    async def append(self, batch: Sequence[Event]) -> PerItem:
        """Add to the streams of tasks."""
        now, ns, ttl = self._context.clock(), self._database.ns, self._context.config.result_ttl
        return await self._database.write(lambda transaction: _streams.append(transaction, ns, batch, now, ttl))

    async def delete(self, uuids: Sequence[UUID]) -> int:
        """Remove tasks, whatever their status; return how many were there."""
        ns, keys = self._database.ns, [uuid.bytes for uuid in uuids]
        return await self._database.write(lambda transaction: _records.delete(transaction, ns, keys))

    # ------------------------------------------------------------ reading

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        """Return the records, None for what is not known."""
        ns, keys, now = self._database.ns, [uuid.bytes for uuid in uuids], to_micros(self._context.clock())
        found = await self._database.read(lambda connection: _records.find(connection, ns, keys, now))
        return [found[key].to_record() if key in found else None for key in keys]

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        """Yield records, the oldest first.

        Parameters:
            status: Only those.
            task_name: Only those.
        """
        ns, after, now = self._database.ns, 0, to_micros(self._context.clock())
        while True:
            rows, last = await self._database.read(
                lambda connection, after=after: _records.page(connection, ns, after, now)  # type: ignore[misc]
            )
            for record in [row.to_record() for row in rows if task_name in {None, row.name}]:
                if status in {None, record.status}:
                    yield record
            if last is None:
                return
            after = last

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record.

        Parameters:
            uuid: The task.
            timeout_s: Seconds; None: no limit.

        Raises:
            TimeoutError: The time is over.
            ResultExpiredError: Nothing is known of the task.
        """
        self.interest = URGENT
        try:
            return await self._waiters.wait(uuid, timeout_s)
        finally:
            self._calm()

    async def events(self, uuid: UUID, after: tuple[tuple[int, int, float], int] | None = None) -> AsyncIterator[Event]:
        """Yield the events of a task until its record is final.

        Parameters:
            uuid: The task.
            after: The last place that was read.

        Raises:
            ResultExpiredError: Nothing is known of the task.
        """
        ns, place = self._database.ns, after or _streams.START
        changed = asyncio.Event()
        self._readers.add(changed)
        self.interest = URGENT
        try:
            while True:
                changed.clear()
                events, ended = await self._database.read(
                    lambda connection, place=place: _streams.read(connection, ns, uuid, place)  # type: ignore[misc]
                )
                for event in events:
                    yield event
                    place = (event.run, event.seq)
                if ended:
                    return
                if ended is None and not events:
                    raise ResultExpiredError("nothing is known of this task, or not any more")
                if not events:
                    self._database.poke()
                    await changed.wait()
        finally:
            self._readers.discard(changed)
            self._calm()

    # ------------------------------------------------------------ waking

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:
        """Look for what is waited for, on the reader's thread."""
        self._waiters.look(connection, self._database.ns, changed=changed)
        if changed and self._readers:
            self._call(self._stir)
        return None

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        if effects.final:
            self._waiters.hear(effects.final)
        if self._readers and (effects.events or effects.final):
            self._call(self._stir)

    def _stir(self) -> None:
        for changed in self._readers:
            changed.set()

    def _calm(self) -> None:
        if not self._waiters and not self._readers:
            self.interest = IDLE


def _clear(transaction: Transaction, ns: int) -> None:
    """Delete records; a message that waits, runs or is dead is the record of its task, and stays."""
    execute = transaction.connection.execute
    execute("DELETE FROM events WHERE ns = ?", (ns,))
    execute("DELETE FROM tasks WHERE ns = ? AND state = ?", (ns, SETTLED))
    execute(
        "UPDATE tasks SET status = NULL, record = NULL WHERE ns = ? AND state = ? AND status >= ?", (ns, DEAD, FINAL)
    )
