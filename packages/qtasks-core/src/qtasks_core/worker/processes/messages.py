"""What a worker and the processes of its pool say to one another: length, then msgpack."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from qtasks_core.contract import Envelope, Message

__all__ = [
    "LENGTH",
    "WINDOW",
    "Call",
    "Credit",
    "Failure",
    "FromChild",
    "LogLine",
    "Mark",
    "Meaning",
    "Place",
    "Ready",
    "Refused",
    "Result",
    "Setup",
    "Splitter",
    "ToChild",
    "Value",
    "decode_from_child",
    "decode_to_child",
    "encode",
]

LENGTH = struct.Struct("!I")
WINDOW = 256
"""Yielded values that may be on their way before the worker has taken them."""


# ---------------------------------------------------------------- from the worker


class Place(Struct, array_like=True, frozen=True):
    """Where a task's function stands, as the worker's own definition says."""

    name: str
    module: str
    qualname: str
    echo: bool
    has_handler: bool


class Setup(Struct, array_like=True, frozen=True, tag=True):
    """All that a new process is told."""

    places: list[Place]
    app: tuple[str, str] | None
    """Module and attribute of the app, where the worker knows them."""
    codec: str
    """Of results and yielded values."""
    max_depth: int
    max_message_bytes: int
    log_levels: Mapping[str, int]
    argv: list[str]
    main: Mapping[str, Any]
    """For `multiprocessing.spawn.prepare`: what `__main__` is, when a function stands there."""


class Call(Struct, array_like=True, frozen=True, tag=True):
    """Run a task."""

    number: int
    """Its place in the setup."""
    envelope: Envelope
    message: Message


class Credit(Struct, array_like=True, frozen=True, tag=True):
    """So many more values were taken."""

    count: int


# ---------------------------------------------------------------- from the process


class Ready(Struct, array_like=True, frozen=True, tag=True):
    """All functions are there."""


class Refused(Struct, array_like=True, frozen=True, tag=True):
    """A function is missing, or its module cannot be imported."""

    reason: str


class Value(Struct, array_like=True, frozen=True, tag=True):
    """A value that the task yielded, encoded."""

    raw: bytes


class Mark(Struct, array_like=True, frozen=True, tag=True):
    """How far the task is."""

    done: float
    total: float | None
    message: str


class LogLine(Struct, array_like=True, frozen=True, tag=True):
    """What was logged: the attributes of a record that are plain data, its text put together."""

    fields: Mapping[str, str | int | float | bool | None]


class Result(Struct, array_like=True, frozen=True, tag=True):
    """What the task returned, encoded."""

    raw: bytes


Meaning = Literal[
    "error", "retry", "postpone", "cancel", "ask plugins", "codec", "argument", "too large", "unknown wire"
]


class Failure(Struct, array_like=True, frozen=True, tag=True):
    """What the task raised."""

    meaning: Meaning
    words: bytes
    """As `wire.pack_error` writes them."""
    kinds: list[str] = []
    """Qualified names of the class and its bases."""
    delay: float | None = None
    values: bytes = b""
    """For plugins, as the default serializer writes them."""


ToChild = Setup | Call | Credit
FromChild = Ready | Refused | Value | Mark | LogLine | Result | Failure

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
decode_to_child = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child = msgspec.msgpack.Decoder(FromChild).decode


def encode(message: ToChild | FromChild) -> bytes:
    """Return a message as it is written to the connection."""
    raw = _encode(message)
    return LENGTH.pack(len(raw)) + raw


class Splitter:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete with *data*."""
        self._buffer += data
        found, start = [], 0
        while len(self._buffer) - start >= LENGTH.size:
            end = start + LENGTH.size + LENGTH.unpack_from(self._buffer, start)[0]
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[start + LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return found
