"""The frame of a body: a preamble of six bytes, then msgpack.

byte 0-1  magic, C1 51 (C1 never begins a msgpack value, so a foreign body is told apart)
byte 2    wire major: another one cannot be read here
byte 3    wire minor: fields are only ever appended, so a newer one can be read
byte 4    flags: signed, compressed, encrypted, offloaded (none is written by this version)
byte 5    id of the signing key
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from qtasks_core.contract import Message
from qtasks_core.errors import UnknownWireError, WireError

__all__ = [
    "RemoteError",
    "frame",
    "pack_error",
    "pack_message",
    "pack_value",
    "unframe",
    "unpack_error",
    "unpack_message",
    "unpack_value",
]

MAGIC = b"\xc1Q"
MAJOR = 1
MINOR = 0
SIZE = 6
_PREAMBLE = MAGIC + bytes((MAJOR, MINOR, 0, 0))
_ERROR_TEXT = 64 * 1024
_DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_pair = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


class RemoteError(Struct, array_like=True, frozen=True):
    """An exception as it travels: never its class, only words. Fields are only ever appended."""

    type_name: str
    message: str
    traceback: str


_decode_error = msgspec.msgpack.Decoder(RemoteError).decode


def frame(payload: bytes) -> bytes:
    """Put the preamble before a payload."""
    return _PREAMBLE + payload


def unframe(raw: bytes) -> memoryview:
    """Return what follows the preamble.

    Raises:
        UnknownWireError: Written by another major version, or with flags that this version cannot undo.
        WireError: No body of this project, or a truncated one.
    """
    if raw[:SIZE] != _PREAMBLE:
        _check_preamble(raw)
    return memoryview(raw)[SIZE:]


def _check_preamble(raw: bytes) -> None:
    if len(raw) < SIZE or raw[:2] != MAGIC:
        raise WireError(f"expected a body that begins with {MAGIC.hex()}, got {raw[:SIZE].hex() or 'nothing'}")
    if raw[2] != MAJOR:
        raise UnknownWireError(f"expected wire major {MAJOR}, got {raw[2]}")
    if raw[4]:
        raise UnknownWireError(f"expected no flags, got {raw[4]:#04x}: signed, compressed or encrypted elsewhere")


def pack_message(message: Message) -> bytes:
    """Return the body of an envelope."""
    return _PREAMBLE + _encode(message)


def unpack_message(raw: bytes) -> Message:
    """Read the body of an envelope.

    Raises:
        UnknownWireError: As `unframe`.
        WireError: It is damaged.
    """
    payload = unframe(raw)
    try:
        return _decode_message(payload)
    except _DAMAGED as error:
        raise WireError(f"the body is damaged: {error}") from None


def pack_error(error: RemoteError) -> bytes:
    """Encode an exception's words; a long traceback loses its middle, not its end."""
    return _encode(RemoteError(_clip(error.type_name), _clip(error.message), _clip(error.traceback)))


def unpack_error(raw: bytes) -> RemoteError:
    """Read what `pack_error` wrote; damaged bytes give an error that says so."""
    try:
        return _decode_error(raw)
    except _DAMAGED as error:
        return RemoteError("qtasks.WireError", f"the error's own record is damaged: {error}", "")


def pack_value(codec: str, raw: bytes) -> bytes:
    """Return a yielded value as it is stored: bare msgpack; of another codec framed, with that codec's name."""
    return raw if codec == "msgpack" else frame(_encode((codec, raw)))


def unpack_value(stored: bytes) -> tuple[str, bytes]:
    """Return the codec of a yielded value, and its bytes.

    Raises:
        UnknownWireError: As `unframe`.
        WireError: It is damaged.
    """
    if stored[:2] != MAGIC:
        return "msgpack", stored
    try:
        return _decode_pair(unframe(stored))
    except _DAMAGED as error:
        raise WireError(f"the value is damaged: {error}") from None


def _clip(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _ERROR_TEXT:
        return text
    half = _ERROR_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - _ERROR_TEXT} characters ...]\n{text[-half:]}"
