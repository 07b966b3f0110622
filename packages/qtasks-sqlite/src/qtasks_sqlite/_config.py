"""The config table: values with revisions; what is deleted leaves its revision behind for those who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Versioned

if TYPE_CHECKING:
    import sqlite3

    from qtasks_sqlite._transaction import Transaction

__all__ = ["ABSENT", "changes", "get", "lapse", "list_prefix", "next_lapse", "revision_of", "write"]

ABSENT = Versioned(None, 0)
TOMBSTONE_MICROS = 3_600 * 1_000_000  # a watcher is never so late
LIVE = "value IS NOT NULL AND (expires IS NULL OR expires > ?)"
GET = f"SELECT value, revision FROM config WHERE ns = ? AND key = ? AND {LIVE}"
LIST = f"SELECT key, value, revision FROM config WHERE ns = ? AND key >= ? AND key < ? AND {LIVE} ORDER BY key"
CHANGES = "SELECT key, value, revision FROM config WHERE ns = ? AND revision > ? ORDER BY revision"
BUMP = "UPDATE namespaces SET revision = revision + 1 WHERE id = ?"
REVISION = "SELECT revision FROM namespaces WHERE id = ?"
PUT = """
    INSERT INTO config (ns, key, value, revision, expires) VALUES (?, ?, ?, ?, ?) ON CONFLICT (ns, key)
    DO UPDATE SET value = excluded.value, revision = excluded.revision, expires = excluded.expires"""
LAPSED = "SELECT key FROM config WHERE ns = ? AND value IS NOT NULL AND expires <= ? LIMIT 100"
GONE = "DELETE FROM config WHERE ns = ? AND value IS NULL AND expires <= ?"
NEXT_LAPSE = "SELECT min(expires) FROM config WHERE ns = ? AND value IS NOT NULL AND expires IS NOT NULL"


def get(connection: sqlite3.Connection, ns: int, key: str, now: int) -> Versioned:
    """Return a value as it is at *now* (microseconds)."""
    found = connection.execute(GET, (ns, key, now)).fetchone()
    return ABSENT if found is None else Versioned(*found)


def list_prefix(connection: sqlite3.Connection, ns: int, prefix: str, now: int) -> dict[str, Versioned]:
    """Return all values whose key begins with *prefix*."""
    rows = connection.execute(LIST, (ns, prefix, prefix + "\U0010ffff", now)).fetchall()
    return {key: Versioned(value, revision) for key, value, revision in rows}


def write(transaction: Transaction, ns: int, key: str, value: bytes | None, *, expires: int | None, now: int) -> int:
    """Write a value, or with None delete it; return its revision, 0 when it is deleted.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        key: Its key.
        value: What to write.
        expires: When it goes, in microseconds.
        now: Microseconds.
    """
    execute = transaction.connection.execute
    execute(BUMP, (ns,))
    revision = revision_of(transaction.connection, ns)
    until = now + TOMBSTONE_MICROS if value is None else expires
    execute(PUT, (ns, key, value, revision, until))
    transaction.effects.config = True
    return 0 if value is None else revision


def lapse(transaction: Transaction, ns: int, now: int) -> None:
    """Delete what has expired, so that those who watch hear of it."""
    for (key,) in transaction.connection.execute(LAPSED, (ns, now)).fetchall():
        write(transaction, ns, key, None, expires=None, now=now)
    transaction.connection.execute(GONE, (ns, now))


def next_lapse(connection: sqlite3.Connection, ns: int) -> int | None:
    """Return when the next value expires, in microseconds."""
    found = connection.execute(NEXT_LAPSE, (ns,)).fetchone()
    return None if found is None else found[0]


def revision_of(connection: sqlite3.Connection, ns: int) -> int:
    """Return the newest revision of a namespace."""
    return int(connection.execute(REVISION, (ns,)).fetchone()[0])


def changes(
    connection: sqlite3.Connection, ns: int, prefix: str, revision: int
) -> tuple[list[tuple[str, Versioned]], int]:
    """Return what changed after a revision, and the newest revision; what was deleted has revision 0."""
    rows = connection.execute(CHANGES, (ns, revision)).fetchall()
    found = [
        (key, ABSENT if value is None else Versioned(value, number))
        for key, value, number in rows
        if key.startswith(prefix)
    ]
    return found, rows[-1][2] if rows else revision
