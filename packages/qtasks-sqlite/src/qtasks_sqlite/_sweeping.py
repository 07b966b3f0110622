"""Removing what has expired, in steps small enough to share a transaction with tasks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qtasks_sqlite._rows import DEAD, SETTLED

if TYPE_CHECKING:
    from qtasks_sqlite._transaction import Transaction

__all__ = ["STEP", "sweep", "trim_all", "vacuum"]

STEP = 500
SPARE_PAGES = 2_000  # free pages are used again; only what is more goes back to the disk
EXPIRED = f"""
    DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE expires <= ? AND state = {SETTLED} LIMIT {STEP})"""
EXPIRED_EVENTS = f"""
    DELETE FROM events WHERE (uuid, ns, attempt, crashes, started, seq) IN (
        SELECT uuid, ns, attempt, crashes, started, seq FROM events WHERE expires <= ? LIMIT {STEP})"""
DEAD_COUNTS = f"""
    SELECT queue, (SELECT name FROM queues WHERE queues.id = queue), count(*) FROM tasks WHERE state = {DEAD}
    GROUP BY queue HAVING count(*) > ?"""
OLDEST_DEAD = f"""
    DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE queue = ? AND state = {DEAD} ORDER BY pos, id LIMIT ?)"""

logger = logging.getLogger("qtasks.sqlite")


def sweep(transaction: Transaction, now: int) -> bool:
    """Remove one step of what expired before *now* (microseconds); tell whether more may be left."""
    execute = transaction.connection.execute
    tasks = execute(EXPIRED, (now,)).rowcount
    events = execute(EXPIRED_EVENTS, (now,)).rowcount
    return max(tasks, events) == STEP


def trim_all(transaction: Transaction, most: int) -> None:
    """Drop the oldest dead letters of each queue above *most*."""
    for queue, name, count in transaction.connection.execute(DEAD_COUNTS, (most,)).fetchall():
        transaction.connection.execute(OLDEST_DEAD, (queue, count - most))
        logger.warning("queue %r has more than %d dead letters; the oldest are dropped (%d)", name, most, count - most)


def vacuum(transaction: Transaction) -> None:
    """Give some free pages back to the disk when there are many."""
    free = transaction.connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > SPARE_PAGES:
        transaction.connection.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()
