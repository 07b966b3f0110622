"""Yielded values and progress marks: a stream per task, of its newest run only."""

from __future__ import annotations

import asyncio
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from qtasks_core.contract import Event
from qtasks_redis._lua import load
from qtasks_redis._values import encode, ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from qtasks_redis._link import Link

    Place = tuple[tuple[int, int, float], int]

__all__ = ["APPEND", "START", "pack", "read"]

APPEND = load("append")
START: Place = ((-1, -1, 0.0), -1)  # before every event
PAGE = 500
MOST_EVENTS = 1_000_000
"""What one stream holds, about; the oldest go first."""
LEAST_TTL_S = 1.0
ENDED = (b"F", b"D")

_read_event = msgspec.msgpack.Decoder(Event).decode


def pack(batch: Sequence[Event], ttl_s: float) -> list[bytes | int]:
    """Return the arguments of the script.

    Parameters:
        batch: In the order of their numbers; the first of a new run removes those of older ones.
        ttl_s: How long they are kept, in seconds.
    """
    args: list[bytes | int] = [ms(max(ttl_s, LEAST_TTL_S)), MOST_EVENTS]
    for (uuid, run), group in groupby(batch, key=attrgetter("uuid", "run")):
        events = list(group)
        args += (uuid.bytes, run[0], run[1], repr(run[2]).encode(), len(events))
        for event in events:
            args += (event.seq, encode(event))
    return args


async def read(link: Link, uuid: UUID, last_id: bytes) -> tuple[list[Event], bytes, bool | None]:
    """Return the events after a place in the stream, the next place, and whether the task has ended; None: unknown."""
    key = uuid.bytes
    start = b"(" + last_id if last_id else b"-"
    state, rows = await asyncio.gather(  # in this order: what came before the end is among the events
        link.query(b"GETRANGE", link.keys.key(b"r:" + key), 0, 0),
        link.query(b"XRANGE", link.keys.key(b"e:" + key), start, b"+", b"COUNT", PAGE),
    )
    events = [_read_event(fields[-1]) for _, fields in rows]
    ended = None if not state else state in ENDED and len(rows) < PAGE
    return events, rows[-1][0] if rows else last_id, ended
