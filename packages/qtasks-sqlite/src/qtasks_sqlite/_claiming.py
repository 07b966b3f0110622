"""Taking messages: strictly by priority, then by age, and marking them as held in the same transaction."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from qtasks_sqlite._rows import DELAYED, READY, RUNNING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from qtasks_sqlite._transaction import Transaction

__all__ = ["Claim", "ClaimCall", "Claimed", "Taken", "waiting"]

# The answer is one row, whatever the number of messages: each further one would cost a turn of the interpreter's lock
# (_values.py). As JSON with hexadecimal data, since SQLite before 3.39 cuts what is joined at its first zero byte.
SMALL_BYTES = 4096  # a larger message is fetched as it is, and so is a damaged one, which does not hold its row's uuid
TEXT = f"""
    '[' || group_concat('[' || id || ',' || crashes || ',"' ||
        CASE WHEN length(data) <= {SMALL_BYTES} AND instr(data, uuid) THEN hex(data) ELSE '-' END || '"]') || ']'"""
ONE_QUEUE = f"""
    SELECT (SELECT 1 FROM workers WHERE lease = ?), (SELECT min(pos) FROM tasks WHERE state = {DELAYED}),
        json_group_array(id), {TEXT}
    FROM (SELECT id, uuid, crashes, data FROM tasks WHERE queue = ? AND state = {READY}
        ORDER BY priority, pos, id LIMIT ?)"""
# Each queue is read through the index up to its own limit; `queue IN (...)` would sort all that waits.
SOME = f"""
    SELECT * FROM (SELECT id, priority, pos FROM tasks WHERE queue = ? AND state = {READY}
    ORDER BY priority, pos, id LIMIT ?)"""
MANY_QUEUES = f"""
    SELECT (SELECT 1 FROM workers WHERE lease = ?), (SELECT min(pos) FROM tasks WHERE state = {DELAYED}),
        json_group_array(id), {TEXT}
    FROM (SELECT tasks.id, uuid, crashes, data FROM
        (SELECT * FROM (%s) ORDER BY priority, pos, id LIMIT ?) AS first CROSS JOIN tasks ON tasks.id = first.id
        ORDER BY first.priority, first.pos, first.id)"""
MARK = f"UPDATE tasks SET state = {RUNNING}, lease = ?, turn = ? WHERE id IN (SELECT value FROM json_each(?))"
GIVE_BACK = f"""
    UPDATE tasks SET state = {READY}, lease = NULL
    WHERE state = {RUNNING} AND lease = ? AND turn = ? AND id IN (SELECT value FROM json_each(?))"""
MOVE = f"UPDATE tasks SET state = {READY} WHERE state = {DELAYED} AND pos <= ?"
SOME_READY = f"SELECT EXISTS (SELECT 1 FROM tasks WHERE queue = ? AND state = {READY})"


class Claim(NamedTuple):
    """What a worker wants.

    Parameters:
        lease: The worker's registration.
        turn: Number of this claim under that registration.
        limit: Most messages in all.
        queues: Numbers of queues, and most messages of each.
        now: Epoch microseconds.
    """

    lease: int
    turn: int
    limit: int
    queues: Sequence[tuple[int, int]]
    now: int


class Claimed(Struct, array_like=True, gc=False):
    """A message that is held now."""

    id: int
    crashes: int
    text: str  # hexadecimal, or "-": it is among the others


class Taken(NamedTuple):
    """What a claim took.

    Parameters:
        text: An array of Claimed, as JSON; None: nothing.
        others: By id, the uuids of rows whose messages are large or damaged, and these messages.
    """

    text: str | None
    others: Mapping[int, tuple[bytes, bytes]]

    def messages(self) -> list[Claimed]:
        """Decode; on the caller's loop, since the file is locked while the writer works."""
        return [] if self.text is None else _read_claimed(self.text)


NOTHING = Taken(None, {})
_read_claimed = msgspec.json.Decoder(list[Claimed]).decode


class ClaimCall:
    """A claim that may be cancelled while it is on its way.

    Parameters:
        wanted: What the worker wants.
    """

    def __init__(self, wanted: Claim) -> None:
        self.cancelled = False
        self._wanted = wanted
        self._ids: str | None = None

    def run(self, transaction: Transaction) -> Taken | None:
        """Take what may run now; None: the worker's registration is gone, it must not hold anything."""
        self._ids = None
        if self.cancelled:
            return NOTHING
        connection, wanted = transaction.connection, self._wanted
        registered, due, ids, text = _select(connection, wanted)
        if not registered:
            return None
        if due is not None and due <= wanted.now:
            connection.execute(MOVE, (wanted.now,))
            _, _, ids, text = _select(connection, wanted)
            transaction.effects.ready = True  # perhaps more than this worker takes
        if text is None:
            return NOTHING
        connection.execute(MARK, (wanted.lease, wanted.turn, ids))
        self._ids = ids
        return Taken(text, _others(connection, text) if '"-"' in text else {})

    def give_back(self, transaction: Transaction) -> None:
        """Put what was taken where it was, uncharged: nobody has seen it."""
        if self._ids is not None:
            transaction.connection.execute(GIVE_BACK, (self._wanted.lease, self._wanted.turn, self._ids))
            transaction.effects.ready = True


def waiting(connection: sqlite3.Connection, queues: Sequence[int], now: int) -> tuple[bool, int | None]:
    """Tell whether a claim of these queues would find something, and when the next message is due (microseconds)."""
    due = connection.execute(f"SELECT min(pos) FROM tasks WHERE state = {DELAYED}").fetchone()[0]
    ready = any(connection.execute(SOME_READY, (queue,)).fetchone()[0] for queue in queues)
    return ready or (due is not None and due <= now), due


def _select(connection: sqlite3.Connection, wanted: Claim) -> Any:
    if len(wanted.queues) == 1:
        [(queue, most)] = wanted.queues
        return connection.execute(ONE_QUEUE, (wanted.lease, queue, min(most, wanted.limit))).fetchone()
    parameters: list[int] = [wanted.lease]
    for queue, most in wanted.queues:
        parameters += (queue, min(most, wanted.limit))
    return connection.execute(_many(len(wanted.queues)), [*parameters, wanted.limit]).fetchone()


@lru_cache(maxsize=64)
def _many(queues: int) -> str:
    return MANY_QUEUES % " UNION ALL ".join([SOME] * queues)


def _others(connection: sqlite3.Connection, text: str) -> dict[int, tuple[bytes, bytes]]:
    ids = [row.id for row in _read_claimed(text) if row.text == "-"]
    return {id_: connection.execute("SELECT uuid, data FROM tasks WHERE id = ?", (id_,)).fetchone() for id_ in ids}
