"""Yielded values and progress marks: a stream per task, of its newest run only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Event
from qtasks_sqlite._rows import DEAD, FINAL, to_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Literal
    from uuid import UUID

    from qtasks_sqlite._transaction import Transaction

    Place = tuple[tuple[int, int, float], int]

__all__ = ["START", "append", "read"]

START: Place = ((-1, -1, 0.0), -1)  # before every event
PAGE = 500
KINDS: tuple[Literal["yield", "progress"], ...] = ("yield", "progress")
NEWEST = """
    SELECT attempt, crashes, started FROM events WHERE uuid = ? AND ns = ?
    ORDER BY attempt DESC, crashes DESC, started DESC LIMIT 1"""
DROP_OLDER = "DELETE FROM events WHERE uuid = ? AND ns = ? AND (attempt, crashes, started) < (?, ?, ?)"
INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
AFTER = f"""
    SELECT attempt, crashes, started, seq, kind, value FROM events
    WHERE uuid = ? AND ns = ? AND (attempt, crashes, started, seq) > (?, ?, ?, ?)
    ORDER BY attempt, crashes, started, seq LIMIT {PAGE}"""
STATE = f"SELECT coalesce(status, 0) >= {FINAL} OR state = {DEAD} FROM tasks WHERE uuid = ? AND ns = ?"


def append(transaction: Transaction, ns: int, event: Event, now: float, ttl: float) -> None:
    """Add an event, unless a newer run has begun; the first of a new run removes those of older ones.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        event: Said twice, it is there once.
        now: Epoch seconds.
        ttl: How long it is kept, in seconds.
    """
    execute = transaction.connection.execute
    uuid = event.uuid.bytes
    newest = execute(NEWEST, (uuid, ns)).fetchone()
    if newest is not None and newest > event.run:
        return
    if newest is not None and newest < event.run:
        execute(DROP_OLDER, (uuid, ns, *event.run))
    expires = to_micros(now + ttl)
    execute(INSERT, (ns, uuid, *event.run, event.seq, KINDS.index(event.kind), expires, event.value))
    transaction.effects.events = True


def read(connection: sqlite3.Connection, ns: int, uuid: UUID, after: Place) -> tuple[list[Event], bool | None]:
    """Return the next events and whether the task has ended; None: nothing is known of it."""
    state = connection.execute(STATE, (uuid.bytes, ns)).fetchone()  # first: what came before the end is read below
    (run, seq) = after
    rows: Sequence[tuple[int, int, float, int, int, bytes]] = connection.execute(
        AFTER, (uuid.bytes, ns, *run, seq)
    ).fetchall()
    events = [
        Event(uuid, (attempt, crashes, started), number, KINDS[kind], value)
        for attempt, crashes, started, number, kind, value in rows
    ]
    ended = None if state is None else bool(state[0]) and len(rows) < PAGE
    return events, ended
