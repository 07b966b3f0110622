"""Yielded values and progress marks: a stream per task, of its newest run only."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from qtasks_core.contract import Event
from qtasks_sqlite._rows import DEAD, FINAL, to_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Literal
    from uuid import UUID

    from qtasks_core.contract import PerItem
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


def append(transaction: Transaction, ns: int, batch: Sequence[Event], now: float, ttl: float) -> PerItem:
    """Add events; return an answer for each. An event that is said twice is there once; one of an older run is dropped.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        batch: In the order of their numbers; the first of a new run removes those of older ones.
        now: Epoch seconds.
        ttl: How long they are kept, in seconds.
    """
    expires = to_micros(now + ttl)
    transaction.effects.events = True
    if transaction.careful:
        return transaction.each(batch, lambda event: _append_run(transaction.connection, ns, expires, [event]))
    for _, events in groupby(batch, key=attrgetter("uuid", "run")):
        _append_run(transaction.connection, ns, expires, list(events))
    return [None] * len(batch)


def _append_run(connection: sqlite3.Connection, ns: int, expires: int, events: Sequence[Event]) -> None:
    """Add events of one run, unless a newer one has begun."""
    uuid, run = events[0].uuid.bytes, events[0].run
    newest = connection.execute(NEWEST, (uuid, ns)).fetchone()
    if newest is not None and newest > run:
        return
    if newest is not None and newest < run:
        connection.execute(DROP_OLDER, (uuid, ns, *run))
    rows = [(ns, uuid, *run, event.seq, KINDS.index(event.kind), expires, event.value) for event in events]
    connection.executemany(INSERT, rows)


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
