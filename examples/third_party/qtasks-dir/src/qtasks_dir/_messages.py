"""A message is a file: what its name says, and what it holds.

- `ready/QUEUE/PRIORITY-SINCE-UUID-CRASHES-SUSPECT`: a sorted listing is the order of taking; so is held/
- `delayed/QUEUE/DUE-PRIORITY-UUID-CRASHES-SUSPECT`: a sorted listing is the order of becoming due
- `dead/QUEUE/SINCE-UUID`: the oldest first
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from qtasks_core.contract import Envelope

__all__ = ["Label", "Letter", "bury", "envelope_in", "pack", "unpack"]

_LOWEST = -128


class Label(NamedTuple):
    """What a broker has to know of a waiting message without opening it.

    Parameters:
        priority: From -128 to 127.
        at: When it became ready, or will be due: microseconds.
        uuid: The task's, as 32 digits.
        crashes: Workers that died with it, on top of what its envelope says.
        suspect: 1: its run perhaps came to an end.
    """

    priority: int
    at: int
    uuid: str
    crashes: int = 0
    suspect: int = 0

    @property
    def ready(self) -> str:
        """Its name while it may be taken."""
        return f"{self.priority - _LOWEST:03d}-{self.at:017d}-{self.uuid}-{self.crashes}-{self.suspect}"

    @property
    def delayed(self) -> str:
        """Its name while it is held back."""
        return f"{self.at:017d}-{self.priority - _LOWEST:03d}-{self.uuid}-{self.crashes}-{self.suspect}"

    @classmethod
    def of_ready(cls, name: str) -> Label:
        """Read it from the name of a message that may be taken, or is held."""
        priority, at, uuid, crashes, suspect = name.partition(".")[0].split("-")
        return cls(int(priority) + _LOWEST, int(at), uuid, int(crashes), int(suspect))

    @classmethod
    def of_delayed(cls, name: str) -> Label:
        """Read it from the name of a message that is held back."""
        at, priority, uuid, crashes, suspect = name.split("-")
        return cls(int(priority) + _LOWEST, int(at), uuid, int(crashes), int(suspect))


class Letter(Struct, array_like=True, frozen=True):
    """What a file holds: an envelope as it was packed, and why it is dead."""

    envelope: bytes
    reason: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode_letter = msgspec.msgpack.Decoder(Letter).decode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


def pack(envelope: Envelope) -> bytes:
    """Return the file of a message."""
    return _encode(Letter(_encode(envelope)))


def unpack(data: bytes) -> tuple[Envelope | None, Letter]:
    """Return what a file holds; the envelope is None when it cannot be read."""
    try:
        letter = _decode_letter(data)
    except msgspec.DecodeError:
        return None, Letter(data)
    try:
        return _decode_envelope(letter.envelope), letter
    except msgspec.DecodeError:
        return None, letter


def bury(data: bytes, reason: str) -> bytes:
    """Return the file of a dead letter."""
    return _encode(Letter(unpack(data)[1].envelope, reason))


def envelope_in(data: bytes, uuid: str, queue: str) -> tuple[Envelope, str]:
    """Return envelope and reason for an operator to look at; an unreadable one has its raw bytes as its body."""
    envelope, letter = unpack(data)
    return envelope or Envelope(uuid=UUID(uuid), queue=queue, body=letter.envelope), letter.reason
