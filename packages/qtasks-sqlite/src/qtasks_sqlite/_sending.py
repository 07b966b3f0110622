"""The half of the broker that clients need."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from qtasks_core.contract import Limits
from qtasks_core.errors import QTasksError, UnavailableError
from qtasks_sqlite._adding import MESSAGE_BYTES, TaskRow, add, new_message
from qtasks_sqlite._component import SqliteComponent
from qtasks_sqlite._database import log_once
from qtasks_sqlite._items import encode_each
from qtasks_sqlite._values import MOST_ROWS
from qtasks_sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Envelope, PerItem, Results, TaskRecord
    from qtasks_sqlite._transaction import Transaction

__all__ = ["SqliteSender"]

T = TypeVar("T")


class SqliteSender(SqliteComponent):
    """Put messages into the file. Parameters and errors as those of SqliteBroker."""

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.limits = Limits(message_bytes=min(context.config.max_message_bytes, MESSAGE_BYTES), batch=MOST_ROWS)
        self._checked = False

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Return when each message is on disk, or refused."""
        return await self._add([(None, envelope) for envelope in batch])

    def fuses(self, storage: Results) -> bool:
        """Tell whether that storage is in the same file."""
        return isinstance(storage, SqliteStorage) and storage.shares(self._database)

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        """Insert records and messages, both of an item in one row."""
        return await self._add(batch)

    async def _add(self, batch: Sequence[tuple[TaskRecord | None, Envelope]]) -> PerItem:
        queues = await self._numbers([envelope.queue for _, envelope in batch])
        now, ns, most = self._context.clock(), self._database.ns, self.limits.message_bytes

        def encode(item: tuple[TaskRecord | None, Envelope]) -> TaskRow:
            return new_message(item[0], item[1], queues, now, most)

        rows = encode_each(batch, encode)
        answers = await self._in_parts(rows, lambda transaction, part: add(transaction, ns, part, now))
        if not self._checked:
            await self._warn_without_worker()
        return rows.merge(answers)

    async def _in_parts(
        self, rows: Sequence[T], run: Callable[[Transaction, Sequence[T]], list[Exception | None]]
    ) -> list[Exception | None]:
        """Run a job for each part of *rows* that fits into one statement; they share a transaction if they can."""
        if len(rows) <= MOST_ROWS:
            return await self._database.write(lambda transaction: run(transaction, rows)) if rows else []
        parts = [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]
        jobs = [self._database.write(lambda transaction, part=part: run(transaction, part)) for part in parts]  # type: ignore[misc]
        return [answer for job in jobs for answer in await job]

    async def _numbers(self, names: Sequence[str]) -> Mapping[str, int]:
        try:
            return await self._database.queues(names)
        except UnavailableError:
            raise
        except QTasksError:  # one name is bad: its item will find no number
            return await self._each_number(names)

    async def _each_number(self, names: Sequence[str]) -> Mapping[str, int]:
        for name in names:
            try:
                await self._database.queues([name])
            except UnavailableError:
                raise
            except QTasksError:
                continue
        return await self._database.queues(())

    async def _warn_without_worker(self) -> None:
        self._checked = True
        ns = self._database.ns
        statement = "SELECT worker_seen FROM namespaces WHERE id = ?"
        seen = await self._database.read(lambda connection: connection.execute(statement, (ns,)).fetchone()[0])
        if not seen:
            log_once(
                self._database.path,
                "no worker",
                logging.WARNING,
                "no worker has ever opened %s: a worker started in another folder uses another file",
            )
