"""What operators do to a queue: look, send dead letters again, empty it, cancel what waits."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from qtasks_core.contract import Envelope, TaskRecord
from qtasks_sqlite._adding import MESSAGE_BYTES, NewTask, new_message, reopen
from qtasks_sqlite._rows import (
    DEAD,
    DELAYED,
    FINAL,
    READY,
    ROW,
    SETTLED,
    STATUS_CODES,
    UNREADABLE,
    Row,
    read_envelope,
    to_micros,
    write_record,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from qtasks_sqlite._transaction import Transaction

__all__ = ["Cursor", "Letter", "at", "cancel", "page", "places", "purge", "replay"]

PAGE = 200
IN_ORDER = {
    READY: "(priority, pos, id) > (:priority, :pos, :id) ORDER BY priority, pos, id",
    DELAYED: "(pos, id) > (:pos, :id) ORDER BY pos, id",
    DEAD: "(pos, id) > (:pos, :id) ORDER BY pos, id",
}
AT = """SELECT uuid, data, reason FROM tasks WHERE id = ? AND state = ? AND pos = ? AND queue = ?"""
REMOVE = """DELETE FROM tasks WHERE id = ? AND state = ? AND pos = ?"""
CLOSE = f"UPDATE tasks SET state = {SETTLED}, expires = ? WHERE id = ? AND status >= {FINAL}"
CANCEL = f"""
    UPDATE tasks SET state = {SETTLED}, status = ?, expires = ?, record = ?, unique_key = NULL
    WHERE uuid = ? AND ns = ?"""


class Cursor(NamedTuple):
    """The place of a message among others of its state."""

    state: int
    priority: int
    pos: int
    id: int

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read a cursor; None: it is none."""
        parts = text.split(".")
        try:
            return cls(*map(int, parts)) if len(parts) == len(cls._fields) else None
        except ValueError:
            return None


class Letter(NamedTuple):
    """A message as an operator sees it."""

    cursor: Cursor
    envelope: Envelope
    reason: str


def page(
    connection: sqlite3.Connection, queue: int, name: str, states: Sequence[int], after: Cursor | None
) -> list[Letter]:
    """Return the next messages of a queue in some states (in that order); none: it is the end."""
    for state in states:
        if after is not None and states.index(state) < states.index(after.state):
            continue
        start = after if after is not None and after.state == state else Cursor(state, -(1 << 62), -(1 << 62), 0)
        statement = f"""
            SELECT state, priority, pos, id, uuid, data, reason FROM tasks
            WHERE queue = :queue AND state = {int(state)} AND {IN_ORDER[state]} LIMIT {PAGE}"""
        rows = connection.execute(statement, {"queue": queue, **start._asdict()}).fetchall()
        if rows:
            return [Letter(Cursor(*row[:4]), _envelope(row[4], row[5], name), row[6] or "") for row in rows]
    return []


def at(connection: sqlite3.Connection, queue: int, name: str, places: Sequence[Cursor]) -> list[Letter]:
    """Return the messages of a queue that are still at these places."""
    letters = []
    for place in places:
        found = connection.execute(AT, (place.id, place.state, place.pos, queue)).fetchone()
        if found is not None:
            letters.append(Letter(place, _envelope(found[0], found[1], name), found[2] or ""))
    return letters


def places(cursors: Sequence[str], states: Sequence[int]) -> list[Cursor]:
    """Read cursors, once each, of messages in some states; others are left out."""
    parsed = [Cursor.parse(text) for text in dict.fromkeys(cursors)]
    return [cursor for cursor in parsed if cursor is not None and cursor.state in states]


def replay(transaction: Transaction, cursor: Cursor, envelope: Envelope, queues: Mapping[str, int], now: float) -> bool:
    """Send a dead letter again as *envelope*; tell whether it was there."""
    found = transaction.connection.execute(
        f"SELECT {ROW} FROM tasks WHERE id = ? AND state = ? AND pos = ?", (cursor.id, DEAD, cursor.pos)
    ).fetchone()
    if found is None:
        return False
    row = Row(*found)
    record = None if row.status is None else _renewed(row.to_record())
    task = NewTask._make(
        new_message(record, envelope, queues, now, MESSAGE_BYTES)
    )  # what was accepted once may come back
    reopen(transaction.connection, cursor.id, task, fresh=True)
    transaction.effects.ready = True
    return True


def purge(transaction: Transaction, cursors: Sequence[Cursor], expires: int) -> int:
    """Delete messages; the final record of a dead letter is kept until *expires* (microseconds)."""
    count = 0
    for cursor in cursors:
        here = (cursor.id, cursor.state, cursor.pos)
        found = transaction.connection.execute("SELECT 1 FROM tasks WHERE id = ? AND state = ? AND pos = ?", here)
        if found.fetchone() is None:
            continue
        count += 1
        if not transaction.connection.execute(CLOSE, (expires, cursor.id)).rowcount:
            transaction.connection.execute(REMOVE, here)
    return count


def cancel(transaction: Transaction, ns: int, uuid: UUID, reason: str, *, now: float, ttl: float) -> bool | None:
    """Remove a waiting message and write its final record; see Cancels."""
    connection = transaction.connection
    found = connection.execute(f"SELECT {ROW} FROM tasks WHERE uuid = ? AND ns = ?", (uuid.bytes, ns)).fetchone()
    row = None if found is None else Row(*found)
    if row is not None and (row.final or row.state == DEAD):
        return False
    if row is None or row.state not in {READY, DELAYED}:
        return None
    record = row.to_record()
    record.status, record.reason, record.finished_at, record.updated_at = "cancel", reason, now, now
    _write_cancelled(connection, ns, record, now, ttl)
    transaction.effects.final.append(record)
    return True


def _envelope(uuid: bytes, data: bytes, queue: str) -> Envelope:
    """Decode a message; one that is unreadable is shown with its raw bytes as the body."""
    with contextlib.suppress(*UNREADABLE):
        envelope = read_envelope(data)
        if envelope.uuid.bytes == uuid:
            return envelope
    return Envelope(UUID(bytes=uuid), queue, data)


def _renewed(record: TaskRecord) -> TaskRecord:
    """Return what holds of a task whichever run it is in."""
    return TaskRecord(
        uuid=record.uuid,
        task_name=record.task_name,
        queue=record.queue,
        status="new",
        created_at=record.created_at,
        unique_key=record.unique_key,
        unique_ttl_s=record.unique_ttl_s,
        ttl_s=record.ttl_s,
        reply_to=record.reply_to,
        extra=record.extra,
    )


def _write_cancelled(connection: sqlite3.Connection, ns: int, record: TaskRecord, now: float, ttl: float) -> None:
    lives = ttl if record.ttl_s is None else record.ttl_s
    if lives <= 0:
        connection.execute("DELETE FROM tasks WHERE uuid = ? AND ns = ?", (record.uuid.bytes, ns))
        return
    blob = write_record(record, body=False)
    status = STATUS_CODES["cancel"]
    connection.execute(CANCEL, (status, to_micros(now + lives), blob, record.uuid.bytes, ns))
