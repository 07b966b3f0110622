"""The tables, and how an older file becomes a newer one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MIGRATIONS", "check", "migrate"]

# One row is a task for its whole life: message while it waits and runs, record from the first moment to its expiry.
# A second table for records costs twice the writes at the end of each task (measured: 60 us a life against 35).
#   state    0 ready, 1 delayed, 2 running, 3 dead letter, 4 no message (any more)
#   pos      microseconds: since when it waits, when it is due (delayed), when it died (dead letter)
#   status   index into STATUSES; NULL: nobody asked for a record
#   data     the envelope; its body is the record's body too
#   record   what the envelope does not say
#   lease    the registration of the worker that holds it; its number is never used again
#   turn     number of the claim that took it, of all under that lease: with the lease it is the fence of a delivery,
#            also where a row went and the same uuid came back as a row of the same id
# A worker's lock names the file that it holds locked while it lives.
# Queues have numbers of their own in each namespace: index entries stay short and apps stay apart at no cost.
FIRST = (
    """CREATE TABLE namespaces (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL DEFAULT 0, worker_seen INTEGER NOT NULL DEFAULT 0)""",
    "CREATE TABLE queues (id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (ns, name))",
    """CREATE TABLE workers (
        lease INTEGER PRIMARY KEY AUTOINCREMENT, ns INTEGER NOT NULL, name TEXT NOT NULL, lock TEXT NOT NULL)""",
    """CREATE TABLE tasks (
        id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, uuid BLOB NOT NULL, queue INTEGER NOT NULL, state INTEGER NOT NULL,
        priority INTEGER NOT NULL, pos INTEGER NOT NULL, lease INTEGER, turn INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0, status INTEGER, expires INTEGER, name TEXT NOT NULL, unique_key TEXT,
        unique_until INTEGER, reason TEXT, data BLOB, record BLOB)""",
    "CREATE UNIQUE INDEX tasks_uuid ON tasks (uuid, ns)",
    "CREATE INDEX tasks_ready ON tasks (queue, priority, pos) WHERE state = 0",
    "CREATE INDEX tasks_delayed ON tasks (pos, queue) WHERE state = 1",
    "CREATE INDEX tasks_running ON tasks (lease, queue) WHERE state = 2",
    "CREATE INDEX tasks_dead ON tasks (queue, pos) WHERE state = 3",
    "CREATE INDEX tasks_expires ON tasks (expires) WHERE expires IS NOT NULL",
    "CREATE UNIQUE INDEX tasks_unique ON tasks (ns, unique_key) WHERE unique_key IS NOT NULL",
    """CREATE TABLE events (
        ns INTEGER NOT NULL, uuid BLOB NOT NULL, attempt INTEGER NOT NULL, crashes INTEGER NOT NULL,
        started REAL NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL,
        expires INTEGER NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (uuid, ns, attempt, crashes, started, seq)) WITHOUT ROWID""",
    "CREATE INDEX events_expires ON events (expires)",
    """CREATE TABLE config (
        ns INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, revision INTEGER NOT NULL, expires INTEGER,
        PRIMARY KEY (ns, key)) WITHOUT ROWID""",
    "CREATE INDEX config_revision ON config (ns, revision)",
    "CREATE INDEX config_expires ON config (expires) WHERE expires IS NOT NULL",
)
MIGRATIONS: Sequence[Sequence[str]] = (FIRST,)
LOOK = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"


def check(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Return the version of the file's tables, 0 for an empty file; to be asked before anything of it is changed.

    Raises:
        ConfigError: The file was written by a newer version, or belongs to another program.
    """
    version, tables = connection.execute(LOOK).fetchone()  # at once: another process may be making them
    known = len(migrations)
    if version > known:
        raise ConfigError(
            f"{str(path)!r} has tables of version {version}, this qtasks-sqlite knows {known}: "
            'pip install --upgrade "qtasks-sqlite"'
        )
    if version == 0 and tables:
        raise ConfigError(f"{str(path)!r} is a database of another program; expected an empty one or one of QTasks")
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to this version of the tables, in one transaction. Errors as in check()."""
    if check(connection, path, migrations) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check(connection, path, migrations)
        for statement in (statement for step in migrations[version:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
