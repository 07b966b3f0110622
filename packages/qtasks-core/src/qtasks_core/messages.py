"""What travels between the core, its components and servers: the data of the contract, which has their names too.

Epoch times are UTC floats. Names ending in ``_s`` are durations in seconds. Fields of what is written to servers are
only ever appended.
"""

from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

from msgspec import Struct

__all__ = [
    "FINAL",
    "Ack",
    "Dead",
    "Delivery",
    "Envelope",
    "Event",
    "Message",
    "Outcome",
    "PerItem",
    "Release",
    "Retry",
    "Status",
    "TaskRecord",
    "envelope_of",
    "waiting_record",
]

Status = Literal["new", "process", "retry", "success", "error", "cancel", "dead"]
FINAL: frozenset[Status] = frozenset({"success", "error", "cancel", "dead"})
PerItem = Sequence[Exception | None]  # None: done. One bad item never fails its batch mates.


class Envelope(Struct, array_like=True, frozen=True):
    """What a broker may read: routing, and an opaque body. Fields are only ever appended."""

    uuid: UUID
    queue: str
    body: bytes  # preamble (magic, wire major, flags, key id) + Message: the core's business
    priority: int = 0  # -128..127, lower first
    attempt: int = 1  # (uuid, attempt) is the identity when send() de-duplicates; settle() replaces under ownership
    delay_s: float = 0.0  # relative, turned into due_at by the server's clock where it has one
    due_at: float | None = None  # eta; the server holds it until then
    expires_at: float | None = None
    key: str | None = None  # affinity, fairness, per-key limits
    unique_key: str | None = None
    reply_to: str | None = None  # mailbox of the submitter; None: nobody there waits
    crashes: int = 0  # survives a re-publish where the server cannot count
    replays: int = 0  # an operator sent it again; a higher number reopens a final record
    parked_at: float | None = None  # since when no worker knew its task name or wire major
    created_at: float = 0.0


class Message(Struct, array_like=True):
    """The body. Decoded by the core only: after the signature check, before any trigger."""

    task_name: str
    args: bytes
    kwargs: bytes
    codec: str = "msgpack"  # of args and kwargs; the frame itself is always msgpack
    timeout_s: float | None = None
    result_ttl_s: float | None = None  # None: the worker's default; 0: keep no result
    parent: UUID | None = None  # the task that added this one
    root: UUID | None = None
    headers: Mapping[str, str] = {}  # traceparent, tenant, extras
    retry: int | None = None  # further attempts; None: what the task says


class Delivery(Struct, frozen=True):
    """An envelope lent to one worker until it is settled or the broker says that it is lost."""

    envelope: Envelope | None  # None: unreadable; raw has it, and only Dead may follow
    token: object  # entry id + lease epoch, channel + tag, partition + offset: the broker's own
    crashes: int = 0  # worker deaths seen while it was held
    suspect: bool = False  # perhaps a duplicate: Storage.mark() decides before it runs
    raw: bytes = b""


def envelope_of(delivery: Delivery) -> Envelope:
    """Return the envelope of a delivery that could be read, as that of every run.

    Raises:
        TypeError: It could not.
    """
    if delivery.envelope is None:
        raise TypeError("a run has an envelope")
    return delivery.envelope


class Ack(Struct, frozen=True):
    """Finished; forget it."""


class Retry(Struct, frozen=True):
    """Replace it by this envelope: attempt + 1 and due_at, or the same attempt, parked."""

    envelope: Envelope


class Release(Struct, frozen=True):
    """Give it back, uncharged, as the same attempt."""

    delay_s: float = 0.0


class Dead(Struct, frozen=True):
    """Move it to the dead letters of its queue."""

    reason: str


class TaskRecord(Struct, array_like=True, kw_only=True):
    """What a storage keeps. The first final record of a uuid wins; a higher replays reopens it."""

    uuid: UUID
    task_name: str
    queue: str
    status: Status
    attempt: int = 1
    replays: int = 0
    priority: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    worker: str | None = None
    body: bytes = b""  # the Message; a storage that shares the broker's server may point at the envelope instead
    codec: str = "msgpack"  # of result
    result: bytes | None = None  # framed and signed like a body
    error: bytes | None = None  # encoded (type, message, traceback)
    reason: str | None = None
    progress: bytes | None = None  # the last mark
    dead_lettered: bool = False
    unique_key: str | None = None
    unique_ttl_s: float | None = None
    ttl_s: float | None = None
    reply_to: str | None = None
    extra: Mapping[str, str] = {}


def waiting_record(envelope: Envelope, task_name: str, ttl_s: float | None = None) -> TaskRecord:
    """Return the record of a task of which nothing is known but its message.

    Parameters:
        envelope: The message.
        task_name: The task's name, which the body has.
        ttl_s: How long its result is kept, in seconds; None: as long as the worker's setting says.
    """
    return TaskRecord(
        uuid=envelope.uuid,
        task_name=task_name,
        queue=envelope.queue,
        status="new",
        attempt=envelope.attempt,
        replays=envelope.replays,
        priority=envelope.priority,
        created_at=envelope.created_at,
        updated_at=envelope.created_at,
        body=envelope.body,
        unique_key=envelope.unique_key,
        ttl_s=ttl_s,
        reply_to=envelope.reply_to,
    )


class Outcome(Struct, frozen=True):
    """What becomes of a delivery. Order where it is not atomic: sends, record, verdict."""

    delivery: Delivery
    verdict: Ack | Retry | Release | Dead
    record: TaskRecord | None = None
    sends: "tuple[tuple[TaskRecord | None, Envelope], ...]" = ()  # follow-ups: successors, an outbox


class Event(Struct, array_like=True, frozen=True):
    """A yielded value or a progress mark. A stream ends with the final record, never with an event."""

    uuid: UUID
    run: tuple[int, int, float]  # (attempt, crashes, started_at): a newer one restarts the stream, older are dropped
    seq: int  # a reader's place is (run, seq)
    kind: Literal["yield", "progress"]
    value: bytes
