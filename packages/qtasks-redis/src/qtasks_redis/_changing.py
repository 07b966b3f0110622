"""Rare changes of single tasks: read, decide, and write if nobody else was quicker."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from qtasks_redis._lua import load
from qtasks_redis._values import Value, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from qtasks_redis._link import Link

__all__ = ["Change", "Step", "change_each", "delete", "free", "gone", "pull", "push", "put", "read", "tell", "unbury"]

CHANGE = load("change")
GONE = b"G\0\0\0\0"
AT_ONCE = 200
DONE, HELD = 1, -1

Step = tuple[bytes, bytes, bytes, bytes]
T = TypeVar("T")


class Change(NamedTuple):
    """What is to be done with one task.

    Parameters:
        steps: One after the other.
        done: The answer when they are done.
        unless_held: Nothing is done when a worker has it; then the answer is `held`.
        held: That answer.
    """

    steps: Sequence[Step]
    done: Any
    unless_held: bool = False
    held: Any = None


def put(value: bytes, ttl_s: float | None = None) -> Step:
    """Have its key hold that value, for so many seconds (None: without an end)."""
    return b"set", value, b"" if ttl_s is None else ms(max(ttl_s, 0.001)), b""


def delete() -> Step:
    """Remove its key."""
    return b"del", b"", b"", b""


def push(target: bytes, item: bytes, due: bytes) -> Step:
    """Let it wait in a queue."""
    return b"push", target, item, due


def pull(target: bytes, item: bytes) -> Step:
    """Let it wait in a queue no more."""
    return b"pull", target, item, b""


def free(unique_key: str | None) -> Step:
    """Free its unique key."""
    return b"free", (unique_key or "").encode(), b"", b""


def tell(mailbox: str | None, frame: bytes) -> Step:
    """Tell those who wait for it."""
    return b"tell", (mailbox or "").encode(), frame, b""


def gone(mailbox: str | None) -> Step:
    """Tell those who wait for it that it will never come."""
    return tell(mailbox, GONE)


def unbury(queue: str, item: bytes) -> Step:
    """Take it out of the dead letters."""
    return b"unbury", queue.encode(), item, b""


async def read(link: Link, uuids: Sequence[UUID]) -> list[Value | None]:
    """Return what is there of tasks."""
    found: list[Value | None] = []
    for start in range(0, len(uuids), AT_ONCE):
        part = uuids[start : start + AT_ONCE]
        values = await link.query(b"MGET", *(link.keys.key(b"r:" + uuid.bytes) for uuid in part))
        found += [None if data is None else Value(uuid, data) for uuid, data in zip(part, values, strict=True)]
    return found


async def change_each(
    link: Link, uuids: Sequence[UUID], decide: Callable[[int, Value | None], Change | T]
) -> list[Any]:
    """Change tasks one by one, each in one step; return an answer for each.

    Parameters:
        link: The way to the server.
        uuids: Which; one that comes twice is changed twice.
        decide: Returns, given the place in *uuids* and what is there, the change, or the answer when there is nothing
            to do. It is asked again when somebody else changed the task meanwhile.
    """
    answers: list[Any] = [None] * len(uuids)
    left = list(range(len(uuids)))
    while left:
        part, left = left[:AT_ONCE], left[AT_ONCE:]
        values = await read(link, [uuids[place] for place in part])
        changes: list[tuple[int, Value | None, Change]] = []
        for place, value in zip(part, values, strict=True):
            decided = decide(place, value)
            if isinstance(decided, Change):
                changes.append((place, value, decided))
            else:
                answers[place] = decided
        if not changes:
            continue
        args = [arg for place, value, change in changes for arg in _pack(uuids[place], value, change)]
        again = []
        for (place, _, change), result in zip(changes, await link.run(CHANGE, link.movers, *args), strict=True):
            if result == DONE:
                answers[place] = change.done
            elif result == HELD:
                answers[place] = change.held
            else:
                again.append(place)
        left = again + left
    return answers


def _pack(uuid: UUID, value: Value | None, change: Change) -> list[bytes | int]:
    digest = b"" if value is None else hashlib.sha1(value.data).hexdigest().encode()  # noqa: S324  # what Lua has
    args: list[bytes | int] = [uuid.bytes, digest, b"1" if change.unless_held else b"0", len(change.steps)]
    for step in change.steps:
        args += step
    return args
