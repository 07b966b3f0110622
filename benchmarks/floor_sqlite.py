"""The floor of sqlite://: a bare loop that does the same writes as a task's life, and nothing else."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from qtasks_core.naming import new_uuid

__all__ = ["run"]

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


def run(tasks: int, batch: int, path: str | Path) -> dict[str, float]:
    """Add, claim and finish tasks in batches, each batch one transaction that is on disk before the next.

    Parameters:
        tasks: How many.
        batch: How many one transaction carries.
        path: The file; an old one is removed.

    Returns:
        Seconds for `add`, `claim`, `finish`, `drain` (claim and finish) and `life` (all).
    """
    connection = _opened(Path(path))
    try:
        times = {
            "add": _add(connection, tasks, batch),
            "claim": 0.0,
            "finish": 0.0,
        }
        while claimed := _claim(connection, batch, times):
            _finish(connection, claimed, times)
    finally:
        connection.close()
    times["drain"] = times["claim"] + times["finish"]
    times["life"] = times["add"] + times["drain"]
    return times


def _opened(path: Path) -> sqlite3.Connection:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(TABLES)
    return connection


def _add(connection: sqlite3.Connection, tasks: int, batch: int) -> float:
    envelope = os.urandom(ENVELOPE_BYTES)
    uuids = [new_uuid().bytes for _ in range(tasks)]
    start = time.perf_counter()
    for first in range(0, tasks, batch):
        now = int(time.time() * 1_000_000)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(uuid, now, envelope) for uuid in uuids[first : first + batch]])
        connection.execute("COMMIT")
    return time.perf_counter() - start


def _claim(connection: sqlite3.Connection, batch: int, times: dict[str, float]) -> list[tuple[int, bytes, bytes]]:
    start = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    claimed = connection.execute(CLAIM, (batch,)).fetchall()
    connection.execute("COMMIT")
    times["claim"] += time.perf_counter() - start
    return claimed


def _finish(connection: sqlite3.Connection, claimed: list[tuple[int, bytes, bytes]], times: dict[str, float]) -> None:
    record = bytes(RECORD_BYTES)
    start = time.perf_counter()
    expires = int((time.time() + 86_400) * 1_000_000)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(FINISH, [(expires, record, id_) for id_, _, _ in claimed])
    connection.execute("COMMIT")
    times["finish"] += time.perf_counter() - start
