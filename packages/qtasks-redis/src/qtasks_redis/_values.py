"""What a task's key holds: the message while it waits or runs, the record once it is final.

byte 0    state: W waits or runs, P runs and says so, D dead letter, S record whose message is elsewhere, F final record
W, P, D   byte 1 crashes, bytes 2-7 generation, then the envelope; or, where there is more to say than it does, C1, the
          length of the envelope (4 bytes), the envelope, and a record (W, P) or a reason and a record (D)
S         the record
F         the length of the record (4 bytes), the record: what mailboxes are sent too

A generation tells the lives of one uuid apart, so a place in a queue that was given up is never taken for a later one.
It grows with time, so of two queues the older message goes first. Its lowest bit marks a value that is large.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from qtasks_core.contract import Envelope, TaskRecord
from qtasks_core.errors import WireError
from qtasks_core.messages import waiting_record
from qtasks_core.wire import unpack_message

if TYPE_CHECKING:
    from uuid import UUID

__all__ = [
    "FINAL",
    "ITEM",
    "LARGE",
    "UNREADABLE",
    "Value",
    "after",
    "buried_value",
    "delivered",
    "due_of",
    "encode",
    "final_value",
    "ms",
    "read_envelope",
    "read_record",
    "reserve",
    "target_of",
    "waiting_value",
]

HEAD = 8
ITEM = 22
LARGE = 64 * 1024
"""Bytes from which on a value goes beside the scripts, not through them."""
WAITING, RUNNING, DEAD, RECORD, FINAL = b"WPDSF"
MORE = 0xC1
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, IndexError)
_TICK_NS = 16_000  # 47 bits of it are seventy years

encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
read_envelope = msgspec.msgpack.Decoder(Envelope).decode
read_record = msgspec.msgpack.Decoder(TaskRecord).decode
_read_burial = msgspec.msgpack.Decoder(tuple[str, TaskRecord | None]).decode

_lock = threading.Lock()
_last = 0


def reserve(count: int) -> int:
    """Return the first of *count* numbers that this process has not given out yet; a generation is twice as much."""
    global _last  # noqa: PLW0603  # one row for all loops of the process
    with _lock:
        first = max(_last + 1, time.time_ns() // _TICK_NS)
        _last = first + count
    return first


def ms(seconds: float) -> bytes:
    """Return a duration as whole milliseconds, rounded up."""
    return b"%d" % -int(-seconds * 1000 // 1)


def after(seconds: float) -> bytes:
    """Return a due time so many seconds from now, as scripts want it; by the server's clock."""
    return b"r%d" % -int(-seconds * 1_000_000 // 1)


def due_of(envelope: Envelope) -> bytes:
    """Return when an envelope is due, as scripts want it; empty: at once."""
    if envelope.delay_s > 0:
        return after(envelope.delay_s)
    return b"" if envelope.due_at is None else b"a%d" % -int(-envelope.due_at * 1_000_000 // 1)


def target_of(queue: str, priority: int) -> bytes:
    """Return what names the list of a queue and a priority."""
    return bytes((priority + 128,)) + queue.encode()


def waiting_value(envelope: bytes, generation: bytes, record: TaskRecord | None = None) -> bytes:
    """Return the value of a message that waits.

    Parameters:
        envelope: Encoded.
        generation: Of this life.
        record: What the envelope does not say; its body is the envelope's.
    """
    if record is None:
        return b"W\0" + generation + envelope
    return b"W\0" + generation + _with_more(envelope, encode(msgspec.structs.replace(record, body=b"")))


def final_value(record: TaskRecord) -> bytes:
    """Return the value of a final record; a large body is not kept: it would take memory until the record expires."""
    data = encode(record if len(record.body) <= LARGE else msgspec.structs.replace(record, body=b""))
    return b"F" + len(data).to_bytes(4, "big") + data


def buried_value(head: bytes, envelope: bytes, reason: str, record: TaskRecord | None) -> bytes:
    """Return the value of a dead letter.

    Parameters:
        head: Its crashes (one byte) and its generation.
        envelope: Encoded, or as it came when it cannot be read.
        reason: Why.
        record: Its final record; None: nobody asked for one, or it is kept elsewhere.
    """
    record = None if record is None else msgspec.structs.replace(record, body=b"")
    return b"D" + head + _with_more(envelope, encode((reason, record)))


def _with_more(envelope: bytes, more: bytes) -> bytes:
    return b"\xc1" + len(envelope).to_bytes(4, "big") + envelope + more


def delivered(value: bytes) -> Envelope:
    """Return the envelope of a message.

    Raises:
        Exception: One of UNREADABLE.
    """
    if value[HEAD] != MORE:
        return read_envelope(value[HEAD:])
    size = int.from_bytes(value[HEAD + 1 : HEAD + 5], "big")
    return read_envelope(value[HEAD + 5 : HEAD + 5 + size])


class Value(NamedTuple):
    """A task as its key holds it, whatever its state.

    Parameters:
        uuid: The task.
        data: The value.
    """

    uuid: UUID
    data: bytes

    @property
    def is_final(self) -> bool:
        """Whether nothing but a replay changes it."""
        return self.data[0] in (FINAL, DEAD)

    @property
    def has_message(self) -> bool:
        """Whether a message of it waits, runs or is dead."""
        return self.data[0] in (WAITING, RUNNING, DEAD)

    @property
    def is_dead(self) -> bool:
        """Whether it is a dead letter."""
        return self.data[0] == DEAD

    @property
    def generation(self) -> bytes:
        """Of its message."""
        return self.data[2:HEAD]

    @property
    def item(self) -> bytes:
        """Its place in a queue."""
        return self.uuid.bytes + self.generation

    @property
    def envelope_data(self) -> bytes:
        """Its envelope, encoded."""
        if self.data[HEAD : HEAD + 1] != b"\xc1":
            return self.data[HEAD:]
        size = int.from_bytes(self.data[HEAD + 1 : HEAD + 5], "big")
        return self.data[HEAD + 5 : HEAD + 5 + size]

    @property
    def reason(self) -> str:
        """Why it is dead."""
        return "" if not self.is_dead else self._burial()[0]

    def says(self, other: bytes) -> bool:
        """Tell whether another value says the same; each time that one is written it has a new generation."""
        if not self.has_message:
            return self.data == other
        return self.data[:2] == other[:2] and self.data[HEAD:] == other[HEAD:]

    def envelope(self) -> Envelope | None:
        """Decode its message; None where there is none, or none that can be read."""
        if not self.has_message:
            return None
        with contextlib.suppress(*UNREADABLE):
            envelope = delivered(self.data)
            if envelope.uuid == self.uuid:
                return envelope
        return None

    def told(self) -> TaskRecord | None:
        """Return what was recorded of it beside its message."""
        state = self.data[0]
        if state == FINAL:
            return read_record(self.data[5:])
        if state == RECORD:
            return read_record(self.data[1:])
        if state == DEAD:
            return self._burial()[1]
        return read_record(self._more()) if self.data[HEAD : HEAD + 1] == b"\xc1" else None

    def record(self) -> TaskRecord:
        """Build the record: what was written of it, over what the message says."""
        state, record = self.data[0], self.told()
        if state in (FINAL, RECORD) and record is not None:
            return record
        envelope = self.envelope()
        if record is None:
            record = _of_envelope(self.uuid, envelope)
        elif envelope is not None:
            record.body = record.body or envelope.body
        if state == DEAD:
            if record.status in ("new", "process", "retry"):
                record.status, record.dead_lettered, record.reason = "dead", True, self.reason
            return record
        if envelope is not None:
            record.attempt, record.queue, record.priority = envelope.attempt, envelope.queue, envelope.priority
        again = record.attempt > 1 or record.status == "retry"
        record.status = "process" if state == RUNNING else "retry" if again else "new"
        return record

    def running(self, record: TaskRecord) -> bytes:
        """Return its value with a mark that it runs."""
        before = self.told()
        if before is not None:
            record = msgspec.structs.replace(
                record, extra=before.extra, ttl_s=before.ttl_s, unique_ttl_s=before.unique_ttl_s
            )
        more = encode(msgspec.structs.replace(record, body=b""))
        return b"P" + self.data[1:HEAD] + _with_more(self.envelope_data, more)

    def buried(self, reason: str, record: TaskRecord | None) -> bytes:
        """Return its value as a dead letter."""
        return buried_value(self.data[1:HEAD], self.envelope_data, reason, record)

    def _burial(self) -> tuple[str, TaskRecord | None]:
        return _read_burial(self._more())

    def _more(self) -> bytes:
        return self.data[HEAD + 5 + int.from_bytes(self.data[HEAD + 1 : HEAD + 5], "big") :]


def _of_envelope(uuid: UUID, envelope: Envelope | None) -> TaskRecord:
    if envelope is None:
        return TaskRecord(uuid=uuid, task_name="", queue="", status="new")
    name, ttl_s = "", None
    with contextlib.suppress(WireError):
        message = unpack_message(envelope.body)
        name, ttl_s = message.task_name, message.result_ttl_s
    return waiting_record(envelope, name, ttl_s)
