"""Registrations of workers: made, ended, and taken away from those that died or were evicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtasks_sqlite._liveness import is_dead
from qtasks_sqlite._rows import READY, RUNNING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from qtasks_sqlite._transaction import Transaction

__all__ = ["Registration", "evict", "find", "find_all", "find_dead", "leave", "register", "registered"]

TAKE_OVER = f"""
    UPDATE tasks SET state = {READY}, lease = NULL, crashes = crashes + 1 WHERE state = {RUNNING} AND lease = ?"""
GIVE_BACK = f"UPDATE tasks SET state = {READY}, lease = NULL WHERE state = {RUNNING} AND lease = ?"


class Registration(NamedTuple):
    """A worker that is known.

    Parameters:
        lease: Its number.
        lock: Name of the file that it holds locked.
    """

    lease: int
    lock: str


def register(transaction: Transaction, ns: int, name: str, lock: str, *, evicting: bool) -> int:
    """Register a worker, and return its lease.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        name: The worker's name.
        lock: Name of its lock file, which it holds already.
        evicting: Another registration of that name ends as by a crash.
    """
    execute = transaction.connection.execute
    if evicting:
        evict(transaction, find(transaction.connection, ns, name))
    lease = execute("INSERT INTO workers (ns, name, lock) VALUES (?, ?, ?)", (ns, name, lock)).lastrowid
    execute("UPDATE namespaces SET worker_seen = 1 WHERE id = ? AND NOT worker_seen", (ns,))
    return lease or 0


def leave(transaction: Transaction, lease: int) -> None:
    """End a registration and give back, uncharged, what it still holds."""
    transaction.connection.execute(GIVE_BACK, (lease,))
    transaction.connection.execute("DELETE FROM workers WHERE lease = ?", (lease,))
    transaction.effects.ready = True


def evict(transaction: Transaction, workers: Sequence[Registration]) -> int:
    """End registrations and put what they hold to the front again, charged with a crash; return how much that was."""
    taken = 0
    for worker in workers:
        if transaction.connection.execute("DELETE FROM workers WHERE lease = ?", (worker.lease,)).rowcount:
            transaction.effects.evicted = True
            taken += transaction.connection.execute(TAKE_OVER, (worker.lease,)).rowcount
    transaction.effects.ready = True
    return taken


def registered(connection: sqlite3.Connection, lease: int) -> bool:
    """Tell whether a registration still holds."""
    return connection.execute("SELECT 1 FROM workers WHERE lease = ?", (lease,)).fetchone() is not None


def find(connection: sqlite3.Connection, ns: int, name: str) -> list[Registration]:
    """Return the workers of that name."""
    found = connection.execute("SELECT lease, lock FROM workers WHERE ns = ? AND name = ?", (ns, name)).fetchall()
    return [Registration(*row) for row in found]


def find_all(connection: sqlite3.Connection) -> list[Registration]:
    """Return the workers of all namespaces."""
    return [Registration(*row) for row in connection.execute("SELECT lease, lock FROM workers").fetchall()]


def find_dead(connection: sqlite3.Connection, database: Path) -> list[Registration]:
    """Return the workers whose process has died, of whatever namespace."""
    return [worker for worker in find_all(connection) if is_dead(database, worker.lock)]
