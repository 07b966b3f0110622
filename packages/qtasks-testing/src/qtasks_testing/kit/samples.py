"""Envelopes, records and outcomes to test with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import Ack, Delivery, Envelope, Message, Outcome, Status, TaskRecord
from qtasks_core.naming import new_uuid
from qtasks_core.wire import pack_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Dead, Release, Retry

__all__ = [
    "body",
    "envelope",
    "envelope_of",
    "envelopes",
    "envelopes_of",
    "final",
    "next_attempt",
    "outcome",
    "record",
    "sorted_uuids",
    "uuids_of",
]

TASK = "kit.task"


def body(task_name: str = TASK, args: bytes = b"\x90") -> bytes:
    """Return a body as the core writes it."""
    return pack_message(Message(task_name=task_name, args=args, kwargs=b"\x80"))


def envelope(queue: str = "default", **fields: Any) -> Envelope:
    """Return an envelope with a new uuid."""
    return Envelope(**{"uuid": new_uuid(), "queue": queue, "body": body(), **fields})


def envelopes(count: int, queue: str = "default", **fields: Any) -> list[Envelope]:
    """Return envelopes that differ in nothing but their uuid."""
    return [envelope(queue, **fields) for _ in range(count)]


def next_attempt(delivery: Delivery, **fields: Any) -> Envelope:
    """Return the envelope of a delivery for a further attempt."""
    before = envelope_of(delivery)
    return msgspec.structs.replace(before, **{"attempt": before.attempt + 1, **fields})


def envelope_of(delivery: Delivery) -> Envelope:
    """Return the envelope of a readable delivery."""
    assert delivery.envelope is not None, f"unreadable: {delivery.raw!r}"
    return delivery.envelope


def envelopes_of(deliveries: Iterable[Delivery]) -> list[Envelope]:
    """Return the envelopes of readable deliveries."""
    return [envelope_of(delivery) for delivery in deliveries]


def uuids_of(deliveries: Iterable[Delivery]) -> list[UUID]:
    """Return the uuids of readable deliveries."""
    return [sent.uuid for sent in envelopes_of(deliveries)]


def sorted_uuids(items: Iterable[Envelope | Delivery]) -> list[UUID]:
    """Return the uuids of envelopes or deliveries, sorted."""
    return sorted((envelope_of(item) if isinstance(item, Delivery) else item).uuid for item in items)


def record(sent: Envelope | None = None, status: Status = "new", **fields: Any) -> TaskRecord:
    """Return the record of an envelope, or of a task that nobody sent."""
    sent = sent or envelope()
    given = {
        "uuid": sent.uuid,
        "task_name": TASK,
        "queue": sent.queue,
        "attempt": sent.attempt,
        "replays": sent.replays,
        "priority": sent.priority,
        "body": sent.body,
        "unique_key": sent.unique_key,
        "reply_to": sent.reply_to,
    }
    return TaskRecord(**{**given, "status": status, **fields})


def final(of: TaskRecord | Envelope | None = None, status: Status = "success", **fields: Any) -> TaskRecord:
    """Return the final record of a task."""
    before = of if isinstance(of, TaskRecord) else record(of)
    given = {"status": status, "result": b"\x01", "finished_at": 1.0}
    return msgspec.structs.replace(before, **{**given, **fields})


def outcome(
    delivery: Delivery,
    verdict: Ack | Retry | Release | Dead | None = None,
    record: TaskRecord | None = None,
    sends: Sequence[tuple[TaskRecord | None, Envelope]] = (),
) -> Outcome:
    """Return an outcome; acknowledged by default."""
    return Outcome(delivery, verdict or Ack(), record, tuple(sends))
