"""All that the server knows of one uuid: its message, who holds it, its record, who waits for it."""

from __future__ import annotations

from copy import copy
from typing import Literal
from uuid import UUID

from msgspec import Struct

from qtasks_core.contract import FINAL, Delivery, Envelope, TaskRecord
from qtasks_core.memory.signal import Signal
from qtasks_core.memory.stream import Stream

__all__ = ["NO_ENVELOPE", "Place", "Task"]

NO_ENVELOPE = Envelope(uuid=UUID(int=0), queue="", body=b"")
NO_DELIVERY = Delivery(envelope=None, token=None)

Place = tuple[int, float, int]  # (priority, since when it is ready, number): lower goes first


class Task(Struct, eq=False):
    """A message, a record, or both. The message of a waiting task is its record."""

    uuid: UUID
    where: Literal["nowhere", "waiting", "lent", "dead"] = "nowhere"  # the message
    envelope: Envelope = NO_ENVELOPE  # while it is somewhere
    place: Place = (0, 0.0, 0)  # kept while it is lent: a released task goes back to it
    key: Place | tuple[float, ...] | None = None  # its key in the line where it waits
    crashes: int = 0  # on top of envelope.crashes
    suspect: bool = False
    delivery: Delivery = NO_DELIVERY  # while it is lent
    worker: str | None = None
    taken_at: float = 0.0
    letter: int = 0  # its number while it is dead
    reason: str = ""
    record: TaskRecord | None = None
    expires_at: float | None = None
    unique_key: str | None = None  # while it holds that
    waiters: list[Signal[TaskRecord]] | None = None
    stream: Stream | None = None

    @property
    def live(self) -> bool:
        """Whether its message waits or is lent."""
        return self.where in {"waiting", "lent"}

    @property
    def final(self) -> bool:
        """Whether its record is final."""
        return self.record is not None and self.record.status in FINAL

    @property
    def run(self) -> tuple[int, int]:
        """Replays and attempt that are known."""
        of_record = (self.record.replays, self.record.attempt) if self.record is not None else (0, 0)
        return max(of_record, (self.envelope.replays, self.envelope.attempt)) if self.live else of_record

    def may_begin(self, replays: int) -> bool:
        """Whether a message of that many replays is news: not while one is live, nor after an end in the same life."""
        if self.where == "dead":
            return replays > self.envelope.replays
        return not self.live and not self.ended(replays)

    def ended(self, replays: int) -> bool:
        """Whether the life of that many replays is over."""
        known = self.run[0]
        return replays < known or (replays == known and self.final)

    def lose_message(self) -> None:
        """Let go of the message, which is in no line."""
        self.where, self.envelope, self.key = "nowhere", NO_ENVELOPE, None
        self.delivery, self.worker, self.letter, self.reason = NO_DELIVERY, None, 0, ""

    def snapshot(self) -> TaskRecord | None:
        """Return a copy of the record as it stands, built from the message while that is live."""
        if self.final or not self.live:
            return copy(self.record)
        envelope = self.envelope
        record = copy(self.record) or TaskRecord(
            uuid=self.uuid,
            task_name="",  # in the body, which is the core's business
            queue=envelope.queue,
            status="new",
            created_at=envelope.created_at,
            unique_key=envelope.unique_key,
            reply_to=envelope.reply_to,
        )
        record.queue, record.priority, record.body = envelope.queue, envelope.priority, envelope.body
        record.attempt, record.replays = envelope.attempt, envelope.replays
        if self.where == "lent":
            record.status = "process"
            record.worker = self.worker
            record.started_at = max(record.started_at or 0.0, self.taken_at)
        else:
            record.status = "new" if envelope.attempt == 1 else "retry"
            record.worker = record.started_at = None
        return record
