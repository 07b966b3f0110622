"""How many messages of a queue are in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Depth
from qtasks_sqlite._rows import DEAD, DELAYED, READY, RUNNING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["depth_of"]

# Each state is written out, so that each count reads its own partial index only.
COUNT = "SELECT count(*) FROM tasks WHERE queue = ? AND state = {}"
DUE = f"SELECT count(*) FROM tasks WHERE queue = ? AND state = {DELAYED} AND pos <= ?"


def depth_of(connection: sqlite3.Connection, queue: int | None, now: int) -> Depth:
    """Count the messages of a queue at *now* (microseconds); None: there is no such queue."""
    if queue is None:
        return Depth(0, 0, 0, 0)
    ready, delayed, running, dead = (
        connection.execute(COUNT.format(state), (queue,)).fetchone()[0] for state in (READY, DELAYED, RUNNING, DEAD)
    )
    due = connection.execute(DUE, (queue, now)).fetchone()[0]
    return Depth(ready + due, delayed - due, running, dead)
