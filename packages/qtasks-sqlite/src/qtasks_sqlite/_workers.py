"""Registrations of workers: made, ended, and taken away from those that died or were evicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_sqlite._liveness import bury, hold, is_dead, lock_path
from qtasks_sqlite._rows import READY, RUNNING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from qtasks_sqlite._transaction import Transaction

__all__ = ["bury_all", "evict", "find", "find_dead", "leave", "register", "registered"]

TAKE_OVER = f"""
    UPDATE tasks SET state = {READY}, lease = NULL, crashes = crashes + 1 WHERE state = {RUNNING} AND lease = ?"""
GIVE_BACK = f"UPDATE tasks SET state = {READY}, lease = NULL WHERE state = {RUNNING} AND lease = ?"


def register(transaction: Transaction, ns: int, name: str, *, evicting: bool) -> int:
    """Register a worker and lock its file before anybody can see it; return its lease.

    Parameters:
        transaction: Of the writer.
        ns: The namespace.
        name: The worker's name.
        evicting: Another registration of that name ends as by a crash.
    """
    execute = transaction.connection.execute
    if evicting:
        evict(transaction, find(transaction.connection, ns, name))
    lease = execute("INSERT INTO workers (ns, name) VALUES (?, ?)", (ns, name)).lastrowid
    if lease is None:
        raise RuntimeError("SQLite gave no row id")
    hold(lock_path(transaction.path, lease))
    execute("UPDATE namespaces SET worker_seen = 1 WHERE id = ? AND NOT worker_seen", (ns,))
    return lease


def leave(transaction: Transaction, lease: int) -> None:
    """End a registration and give back, uncharged, what it still holds."""
    transaction.connection.execute(GIVE_BACK, (lease,))
    transaction.connection.execute("DELETE FROM workers WHERE lease = ?", (lease,))
    transaction.effects.ready = True


def evict(transaction: Transaction, leases: Sequence[int]) -> int:
    """End registrations and put what they hold to the front again, charged with a crash; return how much that was."""
    taken = 0
    for lease in leases:
        if transaction.connection.execute("DELETE FROM workers WHERE lease = ?", (lease,)).rowcount:
            transaction.effects.evicted = True
            taken += transaction.connection.execute(TAKE_OVER, (lease,)).rowcount
    transaction.effects.ready = True
    return taken


def registered(connection: sqlite3.Connection, lease: int) -> bool:
    """Tell whether a registration still holds."""
    return connection.execute("SELECT 1 FROM workers WHERE lease = ?", (lease,)).fetchone() is not None


def find(connection: sqlite3.Connection, ns: int, name: str) -> list[int]:
    """Return the leases of the workers of that name."""
    return [row[0] for row in connection.execute("SELECT lease FROM workers WHERE ns = ? AND name = ?", (ns, name))]


def find_dead(connection: sqlite3.Connection, path: Path) -> list[int]:
    """Return the leases whose process has died, of whatever namespace."""
    leases = [row[0] for row in connection.execute("SELECT lease FROM workers").fetchall()]
    return [lease for lease in leases if is_dead(lock_path(path, lease))]


def bury_all(path: Path, leases: Sequence[int]) -> None:
    """Remove the lock files of registrations that are over."""
    for lease in leases:
        bury(lock_path(path, lease))
