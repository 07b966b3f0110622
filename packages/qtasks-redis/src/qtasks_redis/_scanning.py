"""Passing over all tasks of a namespace: for operators, since it passes over all keys of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from qtasks_redis._lua import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qtasks_redis._link import Link

__all__ = ["keys_of", "remove", "scan"]

REMOVE = load("remove")
AT_ONCE = 500
UUID_BYTES = 16


async def keys_of(link: Link, kind: bytes) -> AsyncIterator[list[bytes]]:
    """Yield what follows the kind in the names of keys, each once, in steps."""
    prefix, cursor, seen = link.keys.key(kind), b"0", set[bytes]()
    while True:
        cursor, found = await link.query(b"SCAN", cursor, b"MATCH", prefix + b"*", b"COUNT", AT_ONCE)
        names = [name for key in found if (name := key[len(prefix) :]) not in seen]
        seen.update(names)
        if names:
            yield list(dict.fromkeys(names))
        if cursor == b"0":
            return


async def scan(link: Link, kind: bytes) -> AsyncIterator[list[UUID]]:
    """Yield the uuids in the names of keys, each once, in steps."""
    async for names in keys_of(link, kind):
        yield [UUID(bytes=name) for name in names if len(name) == UUID_BYTES]


async def remove(link: Link, states: bytes) -> None:
    """Remove all tasks in some states."""
    async for uuids in scan(link, b"r:"):
        await link.ask(REMOVE, states, *(uuid.bytes for uuid in uuids))
