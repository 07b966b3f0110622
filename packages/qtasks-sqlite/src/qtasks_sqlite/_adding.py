"""Putting tasks in: messages, records, or both in one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from qtasks_core.errors import AlreadyExists, RefusedError
from qtasks_sqlite._rows import (
    DELAYED,
    FINAL,
    READY,
    ROW,
    SETTLED,
    STATUS_CODES,
    UNEXPIRED,
    Row,
    due_of,
    to_micros,
    write_envelope,
    write_record,
)
from qtasks_sqlite._transaction import OneByOne, Transaction
from qtasks_sqlite._values import execute_values

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from qtasks_core.contract import Envelope, TaskRecord

__all__ = ["MESSAGE_BYTES", "NewTask", "TaskRow", "add", "insert", "new_message", "new_record", "reopen"]

MESSAGE_BYTES = 512 * 1024 * 1024  # SQLite's limit for a row is 1e9 bytes
INSERT = """
    INSERT INTO tasks (ns, uuid, queue, state, priority, pos, status, name, unique_key, unique_until, data, record)
    SELECT ?, column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, column11
    FROM (/*VALUES*/) WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING"""
THERE = f"SELECT id, NOT {UNEXPIRED} FROM tasks WHERE uuid = ? AND ns = ?"
REOPEN = """
    UPDATE tasks SET state = :state, queue = :queue, priority = :priority, pos = :pos, data = :data, lease = NULL,
        crashes = 0, reason = NULL,
        status = CASE WHEN :fresh THEN :status ELSE coalesce(status, :status) END,
        expires = NULL, record = CASE WHEN :fresh THEN :record ELSE coalesce(:record, record) END,
        name = CASE WHEN :name = '' THEN name ELSE :name END
    WHERE id = :id"""
DROP_EVENTS = "DELETE FROM events WHERE (uuid, ns) = (SELECT uuid, ns FROM tasks WHERE id = ?)"
HOLD = "UPDATE OR IGNORE tasks SET unique_key = ?, unique_until = ? WHERE id = ?"  # unless another task has it by now
REOPEN_RECORD = """
    UPDATE tasks SET status = ?, record = ?, expires = NULL, name = CASE WHEN ? = '' THEN name ELSE ? END
    WHERE id = ?"""

TaskRow = tuple[Any, ...]  # a NewTask, or its plain form


class NewTask(NamedTuple):
    """The columns of a new row."""

    uuid: bytes
    queue: int
    state: int
    priority: int
    pos: int
    status: int | None
    name: str
    unique_key: str | None
    unique_until: int | None
    data: bytes | None
    record: bytes | None


def new_message(
    record: TaskRecord | None, envelope: Envelope, queues: Mapping[str, int], now: float, most: int
) -> TaskRow:
    """Make the row of a message, with the columns of NewTask; as a plain tuple, it is made for each task.

    Parameters:
        record: Its record; None: nobody asked for one.
        envelope: The message.
        queues: Numbers of the queues.
        now: Epoch seconds.
        most: Largest body, in bytes.

    Raises:
        RefusedError: It is too large.
    """
    if len(envelope.body) > most:
        raise RefusedError(f"a message of {len(envelope.body)} bytes; at most {most} are allowed")
    data = write_envelope(envelope)
    state, due = READY, now
    if envelope.delay_s > 0 or envelope.due_at is not None:
        later = due_of(envelope, now)
        state, due = (READY, now) if later is None else (DELAYED, later)
    start = (envelope.uuid.bytes, queues[envelope.queue], state, envelope.priority, to_micros(due))
    if record is None:  # who keeps the record elsewhere keeps the key elsewhere too
        return (*start, None, "", None, None, data, None)
    until = None if record.unique_ttl_s is None else to_micros(now + record.unique_ttl_s)
    kept = record.ttl_s is not None or until is not None or record.extra or record.status != "new"
    blob = write_record(record, body=False) if kept else None
    return (*start, STATUS_CODES[record.status], record.task_name, envelope.unique_key, until, data, blob)


def new_record(record: TaskRecord, now: float) -> NewTask:
    """Make the row of a record whose message is kept elsewhere."""
    until = None if record.unique_ttl_s is None else to_micros(now + record.unique_ttl_s)
    status = STATUS_CODES[record.status]
    key = record.unique_key if status < FINAL else None
    blob = write_record(record, body=True)
    return NewTask(
        record.uuid.bytes, 0, SETTLED, record.priority, to_micros(now), status, record.task_name, key, until, None, blob
    )


def add(transaction: Transaction, ns: int, tasks: Sequence[TaskRow], now: float) -> list[Exception | None]:
    """Insert tasks; what is there already stays as it is.

    Returns:
        AlreadyExists, another error, or None for each.
    """
    if not transaction.careful:
        insert(transaction, ns, tasks)
        return [None] * len(tasks)
    return transaction.each(tasks, lambda task: _add_one(transaction, ns, NewTask._make(task), now))


def insert(transaction: Transaction, ns: int, tasks: Sequence[TaskRow]) -> None:
    """Insert tasks in one statement.

    Raises:
        OneByOne: One of them is there already.
    """
    if execute_values(transaction.connection, INSERT, tasks, ns).rowcount != len(tasks):
        raise OneByOne
    transaction.effects.ready = True


def reopen(connection: sqlite3.Connection, id_: int, task: NewTask, *, fresh: bool) -> None:
    """Put a message into a row that has none.

    Parameters:
        connection: With a transaction open.
        id_: The row.
        task: The message.
        fresh: It is sent again, so what was recorded of the former run goes.
    """
    connection.execute(REOPEN, {**task._asdict(), "id": id_, "fresh": fresh})
    if fresh:
        connection.execute(DROP_EVENTS, (id_,))
    if fresh and task.unique_key is not None:
        connection.execute(HOLD, (task.unique_key, task.unique_until, id_))


def _add_one(transaction: Transaction, ns: int, task: NewTask, now: float) -> Exception | None:
    transaction.effects.ready = True
    if execute_values(transaction.connection, INSERT, [task], ns).rowcount:
        return None
    there = transaction.connection.execute(THERE, (to_micros(now), task.uuid, ns)).fetchone()
    if there is not None and there[1]:
        transaction.connection.execute("DELETE FROM tasks WHERE id = ?", (there[0],))
        return _add_one(transaction, ns, task, now)
    if there is not None:
        return _add_to(transaction.connection, there[0], task)
    holder = _holder(transaction.connection, ns, task.unique_key, now)
    if holder is not None:
        return AlreadyExists(UUID(bytes=holder))
    insert(transaction, ns, [task])
    return None


def _add_to(connection: sqlite3.Connection, id_: int, task: NewTask) -> Exception | None:
    """Add to a row that is there: a record to its message, a message to its record, or a replay to what is over."""
    row = Row(*connection.execute(f"SELECT {ROW} FROM tasks WHERE id = ?", (id_,)).fetchone())
    if task.data is None and row.status is None:
        connection.execute(
            "UPDATE tasks SET status = ?, name = ?, record = ? WHERE id = ?", (task.status, task.name, task.record, id_)
        )
        return None
    there = row.to_record()
    incoming = Row(task.uuid, task.state, task.status, task.name, None, task.data, task.record, None).to_record()
    replay = incoming.replays > there.replays
    waits = row.state != SETTLED
    if task.data is None and replay and row.final and not waits:
        connection.execute(REOPEN_RECORD, (task.status, task.record, task.name, task.name, id_))
        connection.execute(DROP_EVENTS, (id_,))
        return None
    if task.data is None or (waits and not replay) or (row.final and not replay):
        return AlreadyExists(incoming.uuid)
    reopen(connection, id_, task, fresh=replay)
    return None


def _holder(connection: sqlite3.Connection, ns: int, key: str | None, now: float) -> bytes | None:
    """Return the uuid that holds a unique key, after taking the key from one whose time is over."""
    found: Any = connection.execute(
        "SELECT id, uuid, unique_until FROM tasks WHERE ns = ? AND unique_key = ?", (ns, key)
    ).fetchone()
    if found is None:
        return None
    id_, uuid, until = found
    if until is None or until > to_micros(now):
        return bytes(uuid)
    connection.execute("UPDATE tasks SET unique_key = NULL WHERE id = ?", (id_,))
    return None
