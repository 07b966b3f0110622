"""The floor of sqlite://: a bare loop that does the same writes as a task's life, and nothing else."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from _subject import Spent, main

from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 50  # what the worker beside it writes at once: half of its slots, while the other half runs
ADD_BATCH = 50  # as many as are in flight
ENVELOPE_BYTES, RECORD_BYTES = 160, 110  # as small as those of a task that returns its argument
TABLES = """
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, queue INTEGER NOT NULL, state INTEGER NOT NULL,
        priority INTEGER NOT NULL, pos INTEGER NOT NULL, lease INTEGER, status INTEGER, expires INTEGER,
        data BLOB, record BLOB);
    CREATE UNIQUE INDEX tasks_uuid ON tasks (uuid);
    CREATE INDEX tasks_ready ON tasks (queue, priority, pos) WHERE state = 0;
    CREATE INDEX tasks_running ON tasks (lease) WHERE state = 2;
    CREATE INDEX tasks_expires ON tasks (expires) WHERE expires IS NOT NULL;
"""
INSERT = "INSERT INTO tasks (uuid, queue, state, priority, pos, status, data) VALUES (?, 1, 0, 0, ?, 0, ?)"
CLAIM = """
    UPDATE tasks SET state = 2, lease = 1
    WHERE id IN (SELECT id FROM tasks WHERE queue = 1 AND state = 0 ORDER BY priority, pos LIMIT ?)
    RETURNING id, uuid, data"""
FINISH = "UPDATE tasks SET state = 4, lease = NULL, status = 3, expires = ?, record = ? WHERE id = ? AND lease = 1"


def enqueue(folder: Path, tasks: int) -> dict[str, float]:
    connection = _opened(folder / "floor.db")
    start = time.perf_counter()
    _add(connection, tasks, ADD_BATCH)
    return {"enqueue_per_s": tasks / (time.perf_counter() - start)}


def drain(folder: Path, tasks: int) -> dict[str, float]:
    connection = _opened(folder / "floor.db")
    _add(connection, tasks, 500)
    spent = Spent()
    spent.begin()
    while claimed := _claim(connection):
        _finish(connection, claimed)
    return spent.figures(tasks)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(TABLES)
    return connection


def _add(connection: sqlite3.Connection, tasks: int, batch: int) -> None:
    envelope = os.urandom(ENVELOPE_BYTES)
    for first in range(0, tasks, batch):
        now = int(time.time() * 1_000_000)
        rows = [(new_uuid().bytes, now, envelope) for _ in range(first, min(first + batch, tasks))]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")


def _claim(connection: sqlite3.Connection) -> list[tuple[int, bytes, bytes]]:
    connection.execute("BEGIN IMMEDIATE")
    claimed = connection.execute(CLAIM, (BATCH,)).fetchall()
    connection.execute("COMMIT")
    return claimed


def _finish(connection: sqlite3.Connection, claimed: list[tuple[int, bytes, bytes]]) -> None:
    record = bytes(RECORD_BYTES)
    expires = int((time.time() + 86_400) * 1_000_000)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(FINISH, [(expires, record, id_) for id_, _, _ in claimed])
    connection.execute("COMMIT")


if __name__ == "__main__":
    main({"enqueue": enqueue, "drain": drain})
