"""Those who wait for a result: woken by this process's own commits at once, by those of others through the reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qtasks_core.errors import ResultExpiredError
from qtasks_sqlite import _records
from qtasks_sqlite._loops import call_in
from qtasks_sqlite._rows import DEAD, to_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from qtasks_core.contract import TaskRecord
    from qtasks_sqlite._database import Database
    from qtasks_sqlite._rows import Row

__all__ = ["Waiters"]


class Waiters:
    """Futures by uuid.

    Parameters:
        database: The file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._futures: dict[bytes, set[asyncio.Future[TaskRecord]]] = {}
        self._new: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._futures)

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record. Errors as in Results.wait()."""
        key = uuid.bytes
        future: asyncio.Future[TaskRecord] = self._loop.create_future()
        self._futures.setdefault(key, set()).add(future)
        self._new.add(key)
        self._database.poke()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            self._leave(key, future)

    def look(self, connection: sqlite3.Connection, ns: int, *, changed: bool) -> None:
        """Look for records, on the reader's thread: for all when the file has changed, else for who has come since."""
        new = list(self._new)
        self._new.difference_update(new)
        wanted = list(self._futures) if changed else new
        found = _records.find(connection, ns, wanted, self._now()) if wanted else {}
        unknown = [uuid for uuid in wanted if uuid not in found]
        final = {uuid: row for uuid, row in found.items() if row.final or row.state == DEAD}
        if final or unknown:
            call_in(self._loop, self._found, final, unknown, ns)

    def hear(self, final: Sequence[TaskRecord]) -> None:
        """Hear what this process has finished, on the writer's thread."""
        if not self._futures:
            return
        records = {record.uuid.bytes: record for record in final}
        heard = {uuid: records[uuid] for uuid in records.keys() & self._futures.keys()}
        if heard:
            call_in(self._loop, self._resolve, heard)

    def _found(self, final: Mapping[bytes, Row], unknown: list[bytes], ns: int) -> None:
        self._resolve({uuid: row.to_record() for uuid, row in final.items()})
        left = [uuid for uuid in unknown if uuid in self._futures]
        if left:
            # An add of this process may be on its way: behind it in the writer's queue nothing is missed.
            job = self._database.write(
                lambda transaction: _records.find(transaction.connection, ns, left, self._now()), durable=False
            )
            job.add_done_callback(lambda job: self._give_up(left, job))

    def _give_up(self, uuids: list[bytes], job: asyncio.Future[dict[bytes, Row]]) -> None:
        if job.cancelled() or job.exception() is not None:
            return
        for uuid in uuids:
            row = job.result().get(uuid)
            if row is None:
                self._fail(uuid)
            elif row.final or row.state == DEAD:
                self._resolve({uuid: row.to_record()})

    def _now(self) -> int:
        return to_micros(self._database.clock())

    def _fail(self, uuid: bytes) -> None:
        for future in self._futures.get(uuid, ()):
            if not future.done():
                future.set_exception(ResultExpiredError("nothing is known of this task, or not any more"))

    def _resolve(self, records: Mapping[bytes, TaskRecord]) -> None:
        for uuid, record in records.items():
            for future in self._futures.get(uuid, ()):
                if not future.done():
                    future.set_result(record)

    def _leave(self, key: bytes, future: asyncio.Future[TaskRecord]) -> None:
        waiting = self._futures.get(key)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._futures[key]
                self._new.discard(key)
