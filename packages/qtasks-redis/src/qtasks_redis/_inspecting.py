"""What operators see of a queue: its messages in the order of taking, page by page, each with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from qtasks_core.contract import Envelope
from qtasks_redis import _changing
from qtasks_redis._values import ITEM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from qtasks_redis._link import Link
    from qtasks_redis._values import Value

__all__ = ["Cursor", "Letter", "letters", "places"]

PAGE = 200
READY, DELAYED, DEAD = "r", "d", "x"
PRIORITY_AND_ITEM = ITEM + 1


class Cursor(NamedTuple):
    """The place of a message.

    Parameters:
        kind: Ready, delayed or dead.
        priority: Its byte, for what is ready.
        at: Its index in a list, or its score.
        item: What is there.
    """

    kind: str
    priority: int
    at: float
    item: bytes

    def __str__(self) -> str:
        return f"{self.kind}.{self.priority}.{self.at:.0f}.{self.item.hex()}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read a cursor; None: it is none."""
        try:
            kind, priority, at, item = text.split(".")
            return cls(kind, int(priority), float(at), bytes.fromhex(item))
        except ValueError:
            return None

    @property
    def uuid(self) -> UUID:
        """The task."""
        return UUID(bytes=self.item[:16])


class Letter(NamedTuple):
    """A message as an operator sees it."""

    cursor: Cursor
    envelope: Envelope
    reason: str


def places(cursors: Sequence[str], *, dead: bool) -> list[Cursor]:
    """Read cursors, once each, of dead letters or of what waits; others are left out."""
    parsed = [Cursor.parse(text) for text in dict.fromkeys(cursors)]
    return [cursor for cursor in parsed if cursor is not None and (cursor.kind == DEAD) is dead]


async def letters(link: Link, queue: str, *, dead: bool, after: Cursor | None) -> AsyncIterator[Letter]:
    """Yield what is dead, the oldest first; or what waits in the order of taking, then what is delayed."""
    name = queue.encode()
    if dead:
        async for letter in _sorted(link, queue, DEAD, link.keys.key(b"x:" + name), after):
            yield letter
        return
    if after is None or after.kind == READY:
        for priority in await link.query(b"ZRANGE", link.keys.key(b"p:" + name), 0, -1):
            if after is None or priority[0] >= after.priority:
                place = after if after is not None and priority[0] == after.priority else None
                async for letter in _listed(link, queue, priority[0], place):
                    yield letter
        after = None
    async for letter in _sorted(link, queue, DELAYED, link.keys.key(b"d:" + name), after):
        yield letter


async def _listed(link: Link, queue: str, priority: int, after: Cursor | None) -> AsyncIterator[Letter]:
    key = link.keys.key(b"q:" + bytes((priority,)) + queue.encode())
    start = 0 if after is None else await _index(link, key, after)
    while items := await link.query(b"LRANGE", key, start, start + PAGE - 1):
        cursors = [Cursor(READY, priority, start + number, item) for number, item in enumerate(items)]
        for letter in await _read(link, queue, cursors):
            yield letter
        start += len(items)


async def _index(link: Link, key: bytes, after: Cursor) -> int:
    """Return the index behind a place; where it is gone, others have moved up."""
    index = await link.query(b"LPOS", key, after.item)
    return int(after.at) if index is None else int(index) + 1


async def _sorted(link: Link, queue: str, kind: str, key: bytes, after: Cursor | None) -> AsyncIterator[Letter]:
    start = 0 if after is None else await _rank(link, key, after)
    while rows := await link.query(b"ZRANGE", key, start, start + PAGE - 1, b"WITHSCORES"):
        cursors = [Cursor(kind, 0, float(score), member) for member, score in rows]
        for letter in await _read(link, queue, cursors):
            yield letter
        start += len(rows)


async def _rank(link: Link, key: bytes, after: Cursor) -> int:
    rank = await link.query(b"ZRANK", key, after.item)
    if rank is not None:
        return int(rank) + 1
    return int(await link.query(b"ZCOUNT", key, b"-inf", b"(%d" % int(after.at)))


async def _read(link: Link, queue: str, cursors: Sequence[Cursor]) -> list[Letter]:
    values = await _changing.read(link, [cursor.uuid for cursor in cursors])
    return [
        Letter(cursor, _envelope(value, queue), value.reason)
        for cursor, value in zip(cursors, values, strict=True)
        if value is not None and value.has_message and value.item == cursor.item[:ITEM]
    ]


def _envelope(value: Value, queue: str) -> Envelope:
    """Decode a message; one that is unreadable is shown with its raw bytes as the body."""
    return value.envelope() or Envelope(value.uuid, queue, value.envelope_data)
