"""Tasks as rows: how envelopes and records become columns and come back."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

import msgspec

from qtasks_core.contract import Envelope, Status, TaskRecord
from qtasks_core.messages import waiting_record

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEAD",
    "DELAYED",
    "FINAL",
    "READY",
    "ROW",
    "RUNNING",
    "SETTLED",
    "STATUSES",
    "STATUS_CODES",
    "UNEXPIRED",
    "UNREADABLE",
    "Row",
    "due_of",
    "read_envelope",
    "to_micros",
    "write_envelope",
    "write_record",
]

READY, DELAYED, RUNNING, DEAD, SETTLED = range(5)
STATUSES: tuple[Status, ...] = ("new", "process", "retry", "success", "error", "cancel", "dead")
STATUS_CODES = {status: code for code, status in enumerate(STATUSES)}
FINAL = STATUS_CODES["success"]  # this and all above

# Columns hold the uuid, the task's name and the status; the envelope holds a waiting message's body.
FIELDS = (
    "queue", "attempt", "replays", "priority", "created_at", "updated_at", "started_at", "finished_at", "worker",
    "codec", "result", "error", "reason", "progress", "dead_lettered", "unique_key", "unique_ttl_s", "ttl_s",
    "reply_to", "extra",
)  # fmt: skip
_values_of = attrgetter(*FIELDS)
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_read_envelope = msgspec.msgpack.Decoder(Envelope)
write_envelope = _encoder.encode
read_envelope = _read_envelope.decode
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)  # what damaged bytes make of read_envelope()

# What Row is made of, for SELECTs; a worker's name outlives no registration, so it may be NULL.
# A record that has expired is as if it had never been, whether it was swept yet or not.
UNEXPIRED = f"(expires IS NULL OR expires > ? OR state != {SETTLED})"
ROW = "uuid, state, status, name, reason, data, record, (SELECT name FROM workers WHERE workers.lease = tasks.lease)"


def to_micros(seconds: float) -> int:
    """Return epoch seconds as the integer that columns hold."""
    return int(seconds * 1_000_000)


def due_of(envelope: Envelope, now: float) -> float | None:
    """Return when the envelope is due, as an epoch time; None: at once."""
    if envelope.delay_s > 0:
        return now + envelope.delay_s
    return envelope.due_at if envelope.due_at is not None and envelope.due_at > now else None


def write_record(record: TaskRecord, *, body: bool) -> bytes:
    """Encode what neither columns nor envelope say.

    Parameters:
        record: What to keep.
        body: Keep its body too: there is no envelope in the row.
    """
    return _encoder.encode((*_values_of(record), record.body) if body else _values_of(record))


class Row(NamedTuple):
    """A task as ROW selects it."""

    uuid: bytes
    state: int
    status: int | None
    name: str
    reason: str | None
    data: bytes | None
    record: bytes | None
    worker: str | None

    @property
    def final(self) -> bool:
        """Whether its record can only change by a replay."""
        return self.status is not None and self.status >= FINAL

    def envelope(self) -> Envelope | None:
        """Decode the message; None where there is none, or none that can be read."""
        try:
            return read_envelope(self.data) if self.data is not None else None
        except UNREADABLE:
            return None

    def to_record(self) -> TaskRecord:
        """Build the record: what was written of it, over what the message says."""
        envelope = self.envelope()
        record = _of_blob(UUID(bytes=self.uuid), self.name, self.record) if self.record is not None else None
        if record is None:
            record = _of_envelope(UUID(bytes=self.uuid), self.name, envelope)
        elif envelope is not None and not record.body:
            record.body = envelope.body
        if envelope is not None and not self.final:
            record.attempt, record.queue, record.priority = envelope.attempt, envelope.queue, envelope.priority
        self._apply_state(record)
        return record

    def _apply_state(self, record: TaskRecord) -> None:
        if self.final:
            record.status = STATUSES[cast("int", self.status)]
        elif self.state == DEAD:
            record.status, record.dead_lettered, record.reason = "dead", True, record.reason or self.reason
        elif self.state == RUNNING:
            record.status, record.worker = "process", self.worker or record.worker
        elif self.state != SETTLED:
            again = record.attempt > 1 or self.status == STATUS_CODES["retry"]
            record.status = "retry" if again else "new"
        else:
            record.status = STATUSES[self.status or 0]


def _of_blob(uuid: UUID, name: str, blob: bytes) -> TaskRecord:
    values: Sequence[Any] = msgspec.msgpack.decode(blob)
    fields: dict[str, Any] = dict(zip((*FIELDS, "body"), values, strict=False))
    return TaskRecord(uuid=uuid, task_name=name, status="new", **fields)


def _of_envelope(uuid: UUID, name: str, envelope: Envelope | None) -> TaskRecord:
    if envelope is None:
        return TaskRecord(uuid=uuid, task_name=name, queue="", status="new")
    record = waiting_record(envelope, name)
    record.uuid = uuid  # of the row, whatever a damaged message says
    return record
