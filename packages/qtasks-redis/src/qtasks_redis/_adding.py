"""Putting tasks in: from records and envelopes to the arguments of the script, and from its reply to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from qtasks_core.errors import AlreadyExists, RefusedError, UnavailableError
from qtasks_core.item_errors import item_error
from qtasks_redis._lua import load
from qtasks_redis._values import LARGE, due_of, encode, ms, reserve, target_of, waiting_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Envelope, TaskRecord

__all__ = ["ADD", "Addition", "Batch", "merge", "one_task", "pack", "unique_ttl"]

ADD = load("add")
HAS_NONE = b""
USUAL, OTHER = b"p", b"s"
STAGED = b">"

Addition = tuple["TaskRecord | None", "Envelope"]


class Batch(NamedTuple):
    """Additions as the script wants them.

    Parameters:
        args: Of the script, after the channel of the movers.
        staged: Names and values of those too large for it.
        refused: An error for each item that is not in it, else None; None: all are.
        items: Those that are in it.
    """

    args: list[bytes | int]
    staged: list[tuple[bytes, bytes]]
    refused: list[Exception | None] | None
    items: Sequence[Addition]


def pack(batch: Sequence[Addition], most: int, targets: dict[tuple[str, int], bytes]) -> Batch:
    """Encode additions; one that cannot be does not fail its mates.

    Parameters:
        batch: What is added.
        most: Largest body, in bytes.
        targets: What names a queue and a priority, kept from call to call.
    """
    try:
        return _pack(batch, most, targets, None)
    except Exception:  # noqa: BLE001  # found out below, item by item
        refused = [_try(item, most, targets) for item in batch]
        good = [item for item, error in zip(batch, refused, strict=True) if error is None]
        return _pack(good, most, targets, refused)


def merge(batch: Batch, reply: Sequence[int | bytes], fault: Exception | None = None) -> list[Exception | None]:
    """Return an answer for each item.

    Parameters:
        batch: What was sent.
        reply: What the script says of those that were there.
        fault: What the server said against a large value.
    """
    answers: list[Exception | None] = [None] * len(batch.items)
    for at in range(0, len(reply), 2):
        answers[int(reply[at])] = _there(bytes(reply[at + 1]), fault)
    if batch.refused is None:
        return answers
    rest = iter(answers)
    return [next(rest) if error is None else error for error in batch.refused]


def one_task(envelope: Envelope, record: TaskRecord | None, number: int) -> list[bytes]:
    """Return the five values of a task that is no usual one; a body that is large comes as it is.

    Parameters:
        envelope: The message.
        record: Its record; None: nobody asked for one.
        number: What reserve() gave for it.
    """
    generation = (number << 1).to_bytes(6, "big")
    value = waiting_value(encode(envelope), generation, _more(record))
    return _five(envelope, record, envelope.uuid.bytes + generation, value)


def unique_ttl(record: TaskRecord | None) -> bytes:
    """Return the longest that a unique key is held, in ms; empty: no limit."""
    if record is None or record.unique_ttl_s is None:
        return HAS_NONE
    return ms(max(record.unique_ttl_s, 0.001))


def _pack(
    batch: Sequence[Addition],
    most: int,
    targets: dict[tuple[str, int], bytes],
    refused: list[Exception | None] | None,
) -> Batch:
    args: list[bytes | int] = []
    staged: list[tuple[bytes, bytes]] = []
    number = reserve(len(batch))
    kind, target, count, count_at = b"", b"", 0, 0
    for record, envelope in batch:
        body, key = envelope.body, (envelope.queue, envelope.priority)
        if len(body) > most:
            raise RefusedError(f"a message of {len(body)} bytes; at most {most} are allowed")
        its_target = targets.get(key) or targets.setdefault(key, target_of(*key))
        is_large = len(body) > LARGE
        generation = (number << 1 | is_large).to_bytes(6, "big")
        number += 1
        item = envelope.uuid.bytes + generation
        value = waiting_value(encode(envelope), generation, None if record is None else _more(record))
        is_usual = not (is_large or envelope.delay_s > 0 or envelope.due_at is not None or envelope.unique_key)
        its_kind = USUAL if is_usual else OTHER
        if its_kind is not kind or its_target != target:
            if count:
                args[count_at] = count
            kind, target, count, count_at = its_kind, its_target, 0, len(args) + 2
            args += (kind, target, 0)
        count += 1
        if is_usual:
            args += (item, value)
        else:
            if is_large:
                staged.append((item, value))
                value = STAGED
            args += _five(envelope, record, item, value)
    if count:
        args[count_at] = count
    return Batch(args, staged, refused, batch)


def _five(envelope: Envelope, record: TaskRecord | None, item: bytes, value: bytes) -> list[bytes]:
    # Who keeps the record elsewhere keeps the unique key elsewhere too.
    unique = HAS_NONE if record is None else (envelope.unique_key or "").encode()
    return [item, value, due_of(envelope), unique, unique_ttl(record)]


def _more(record: TaskRecord | None) -> TaskRecord | None:
    """Return the record when it says more than its envelope does."""
    return record if record is not None and (record.extra or record.status != "new") else None


def _there(holder: bytes, fault: Exception | None) -> Exception:
    if len(holder) != 16:  # noqa: PLR2004  # a uuid
        return fault or UnavailableError("the message came too late: it is sent again")
    return AlreadyExists(UUID(bytes=holder))


def _try(item: Addition, most: int, targets: dict[tuple[str, int], bytes]) -> Exception | None:
    try:
        _pack([item], most, targets, None)
    except Exception as error:  # noqa: BLE001  # it fails this item alone
        return item_error(error)
    return None
