"""Records by uuid: written by a storage, read by whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.errors import AlreadyFinal
from qtasks_sqlite._adding import insert, new_record
from qtasks_sqlite._rows import DEAD, FINAL, ROW, SETTLED, STATUS_CODES, UNEXPIRED, Row, to_micros, write_record
from qtasks_sqlite._transaction import OneByOne, Transaction
from qtasks_sqlite._values import MOST_ROWS, execute_values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from qtasks_core.contract import TaskRecord

__all__ = ["PAGE", "delete", "find", "finish", "mark", "page"]

PAGE = 200
# Over a message that waits only what is said of it changes; the body stays in its envelope.
UPSERT = f"""
    INSERT INTO tasks (ns, uuid, queue, state, priority, pos, status, name, expires, record)
    SELECT ?, column1, 0, {SETTLED}, column2, column3, column4, column5, column6, column7
    FROM (/*VALUES*/) WHERE column1 IS NOT NULL
    ON CONFLICT (uuid, ns) DO UPDATE SET status = excluded.status, expires = excluded.expires, record = excluded.record,
        name = excluded.name, unique_key = CASE WHEN excluded.status >= {FINAL} THEN NULL ELSE unique_key END
        WHERE status IS NULL OR status < {FINAL}"""
SELECT = f"""
    SELECT {ROW} FROM (SELECT ? AS space, ? AS now) CROSS JOIN (/*VALUES*/) CROSS JOIN tasks
    ON tasks.uuid = column1 AND tasks.ns = space AND {UNEXPIRED.replace("?", "now")}"""
SELECT_ONE = f"SELECT {ROW} FROM tasks WHERE uuid = ? AND ns = ? AND {UNEXPIRED}"
DROP_EXPIRED = f"DELETE FROM tasks WHERE uuid = ? AND ns = ? AND NOT {UNEXPIRED}"
MARK = "UPDATE tasks SET status = ?, expires = NULL, record = ? WHERE uuid = ? AND ns = ?"
OVERWRITE = """
    UPDATE tasks SET status = ?, expires = ?, record = ?, unique_key = {} WHERE uuid = ? AND ns = ?"""
DELETE = "DELETE FROM tasks WHERE uuid = ? AND ns = ?"
DELETE_EVENTS_BEFORE = "DELETE FROM events WHERE uuid = ? AND ns = ? AND started < ?"  # of a former life
DELETE_EVENTS = "DELETE FROM events WHERE uuid = ? AND ns = ?"
NEXT = f"SELECT {ROW}, id FROM tasks WHERE ns = ? AND id > ? AND {UNEXPIRED} ORDER BY id LIMIT {PAGE}"


def finish(
    transaction: Transaction, ns: int, records: Sequence[TaskRecord], now: float, ttl: float
) -> list[Exception | None]:
    """Write records; the first final one of a uuid wins, unless a later one counts more replays.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        records: Final or retry records.
        now: Epoch seconds.
        ttl: How long a final record is kept that does not say, in seconds.
    """
    if transaction.careful:
        return transaction.each(records, lambda record: _finish_one(transaction, ns, record, now, ttl))
    rows = [_columns(record, now, ttl) for record in records]
    if any(record.ttl_s == 0 for record in records) or len({row[0] for row in rows}) != len(rows):
        raise OneByOne
    if execute_values(transaction.connection, UPSERT, rows, ns).rowcount != len(rows):
        raise OneByOne
    _tell(transaction, records)
    return [None] * len(records)


def mark(transaction: Transaction, ns: int, record: TaskRecord, now: float) -> TaskRecord | None:
    """Write status process; return the record that is already final."""
    connection = transaction.connection
    row = _one(connection, ns, record.uuid.bytes, to_micros(now))
    if row is None:
        columns = new_record(record, now)._replace(unique_key=None)
        insert(transaction, ns, [columns])
        return None
    there = row.to_record()
    if row.state == DEAD or (row.final and record.replays <= there.replays):
        return there
    if record.replays > there.replays:
        begun = record.updated_at if record.started_at is None else record.started_at
        connection.execute(DELETE_EVENTS_BEFORE, (record.uuid.bytes, ns, begun))
    if (record.replays, record.attempt) >= (there.replays, there.attempt):
        blob = new_record(record, now).record
        connection.execute(MARK, (STATUS_CODES[record.status], blob, record.uuid.bytes, ns))
    return None


def find(connection: sqlite3.Connection, ns: int, uuids: Sequence[bytes], now: int) -> dict[bytes, Row]:
    """Return the rows of those uuids that are there at *now* (microseconds)."""
    found: dict[bytes, Row] = {}
    for start in range(0, len(uuids), MOST_ROWS):
        part = [(uuid,) for uuid in uuids[start : start + MOST_ROWS]]
        for values in execute_values(connection, SELECT, part, ns, now).fetchall():
            row = Row(*values)
            found[row.uuid] = row
    return found


def delete(transaction: Transaction, ns: int, uuids: Sequence[bytes]) -> int:
    """Remove tasks, whatever their state; return how many were there."""
    count = 0
    for uuid in uuids:
        count += transaction.connection.execute(DELETE, (uuid, ns)).rowcount
        transaction.connection.execute(DELETE_EVENTS, (uuid, ns))
    return count


def page(connection: sqlite3.Connection, ns: int, after: int, now: int) -> tuple[list[Row], int | None]:
    """Return the rows of a namespace after a row id, and the last of their ids; None: there are no more."""
    found = connection.execute(NEXT, (ns, after, now)).fetchall()
    return [Row(*values[:-1]) for values in found], found[-1][-1] if len(found) == PAGE else None


def _finish_one(transaction: Transaction, ns: int, record: TaskRecord, now: float, ttl: float) -> Exception | None:
    execute = transaction.connection.execute
    uuid, _, _, status, _, expires, blob = _columns(record, now, ttl)
    row = _one(transaction.connection, ns, uuid, to_micros(now))
    if row is not None and (row.final or row.state == DEAD) and record.replays <= row.to_record().replays:
        return AlreadyFinal("an earlier final record stays")
    forget = record.ttl_s == 0 and status >= FINAL
    if forget and (row is None or row.state == SETTLED):
        execute(DELETE, (uuid, ns))
    elif row is None:
        execute_values(transaction.connection, UPSERT, [_columns(record, now, ttl)], ns)
    else:
        key = "NULL" if status >= FINAL else "unique_key"
        execute(OVERWRITE.format(key), (status, expires, blob, uuid, ns))
    _tell(transaction, [record])
    return None


def _tell(transaction: Transaction, records: Sequence[TaskRecord]) -> None:
    for record in records:
        if STATUS_CODES[record.status] >= FINAL:
            transaction.effects.final.append(record)


def _columns(record: TaskRecord, now: float, ttl: float) -> tuple[bytes, int, int, int, str, int | None, bytes]:
    status = STATUS_CODES[record.status]
    lives = ttl if record.ttl_s is None else record.ttl_s
    expires = to_micros(now + lives) if status >= FINAL else None
    blob = write_record(record, body=True)
    return record.uuid.bytes, record.priority, to_micros(now), status, record.task_name, expires, blob


def _one(connection: sqlite3.Connection, ns: int, uuid: bytes, now: int) -> Row | None:
    found = connection.execute(SELECT_ONE, (uuid, ns, now)).fetchone()
    if found is not None:
        return Row(*found)
    connection.execute(DROP_EXPIRED, (uuid, ns, now))
    return None
