"""How arguments and results become bytes: msgpack or JSON by msgspec, with pydantic models as guests."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from qtasks_core.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Serializer

__all__ = [
    "DEFAULT_SERIALIZER",
    "JsonSerializer",
    "MsgpackSerializer",
    "builtin_serializers",
    "check_depth",
    "convert",
    "convert_texts",
    "no_members",
    "tells_depth",
]

_CONTAINER_BYTES = {
    "msgpack": bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)]),  # fixmap, fixarray, array 16/32, map 16/32
    "json": b"[{",
}
_NO_MEMBERS = {"msgpack": b"\x80", "json": b"{}"}
_OTHER_BYTES = {
    codec: bytes(byte for byte in range(256) if byte not in begin) for codec, begin in _CONTAINER_BYTES.items()
}


class MsgpackSerializer:
    """The default codec: everything that msgspec knows, without pickle."""

    codec: ClassVar[str] = "msgpack"

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_encode_guest)

    def encode(self, value: object) -> bytes:
        """Return the value as msgpack.

        Raises:
            CodecError: It holds something that cannot travel; the message names its type.
        """
        try:
            return self._encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(f"cannot be encoded as msgpack: {error}") from None

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        """Return a function that reads a value of this type; strict, as `msgspec.convert`."""
        return _reader(msgspec.msgpack.Decoder(type_, dec_hook=_decode_guest).decode)


class JsonSerializer:
    """The codec of those whose messages are read by programs in other languages; see docs/serialization.md."""

    codec: ClassVar[str] = "json"
    text_keys: ClassVar[bool] = True

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_encode_guest)

    def encode(self, value: object) -> bytes:
        """Return the value as JSON.

        Raises:
            CodecError: It holds something that JSON has no place for; the message names its type.
        """
        try:
            raw = self._encoder.encode(value)
            if b"null" in raw:  # what msgspec writes for NaN, which would come back as None
                _refuse_no_numbers(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(f"cannot be encoded as JSON: {error}") from None
        return raw

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        """Return a function that reads a value of this type; strict, but texts become what JSON has no form for."""
        return _reader(msgspec.json.Decoder(type_, dec_hook=_decode_guest).decode)


def _reader(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        try:
            return decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(str(error)) from None

    return read


def convert(value: Any, type_: Any) -> Any:
    """Make a decoded value what an annotation says, strictly.

    Raises:
        CodecError: It does not fit; the message has the path and what was expected.
    """
    try:
        return msgspec.convert(value, type_, dec_hook=_decode_guest)
    except msgspec.ValidationError as error:
        raise CodecError(str(error)) from None


def convert_texts(value: Any, type_: Any) -> Any:
    """Do the same for a codec that knows only texts as keys of mappings, so that these may stand for other types."""
    try:
        return msgspec.convert(value, type_, dec_hook=_decode_guest, str_keys=True)
    except msgspec.ValidationError as error:
        raise CodecError(str(error)) from None


def check_depth(raw: bytes, value: object, limit: int, *, around: int = 0, codec: str = "msgpack") -> None:
    """Refuse a value in which more than *limit* lists and mappings are in one another.

    The bytes are counted first: fewer container headers than *limit* cannot nest deeper, which spares the walk.

    Parameters:
        raw: The value, encoded.
        value: The value.
        limit: The setting `max_depth`.
        around: Levels that are not the user's, such as the list of the arguments.
        codec: What *raw* is; bytes of an unknown one tell nothing.

    Raises:
        CodecError: It is nested deeper.
    """
    levels = limit + around
    if codec in _OTHER_BYTES and (len(raw) <= levels or len(raw.translate(None, _OTHER_BYTES[codec])) <= levels):
        return
    level = _children([value])
    for _ in range(levels):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise CodecError(f"nested deeper than max_depth ({limit}); flatten the data, or raise the setting everywhere")


def no_members(codec: str) -> bytes | None:
    """Return what a codec of ours writes for an empty mapping; None: it is a user's, which may do as it likes."""
    return _NO_MEMBERS.get(codec)


def tells_depth(codec: str) -> bool:
    """Whether each level takes a byte or more: then a text of `max_depth` bytes cannot be nested deeper."""
    return codec in _OTHER_BYTES


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [child for child in value.values() if isinstance(child, (dict, list, tuple))]
    if isinstance(value, (list, tuple)):
        return [child for child in value if isinstance(child, (dict, list, tuple))]
    return []


def _refuse_no_numbers(value: object) -> None:
    rest: list[Any] = [msgspec.to_builtins(value, enc_hook=_encode_guest)]
    while rest:
        item = rest.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item} is no number in JSON")
        rest += item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ()


def _encode_guest(value: Any) -> Any:
    if (pydantic := sys.modules.get("pydantic")) is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="python")
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise TypeError(f"{name} is no type that can travel; pass plain data, a dataclass or a msgspec Struct")


def _decode_guest(type_: Any, value: Any) -> Any:
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel):
        model: Any = type_
        try:
            return model.model_validate(value)
        except pydantic.ValidationError as error:
            raise ValueError(str(error)) from None
    if isinstance(type_, type) and isinstance(value, type_):
        return value
    raise ValueError(f"Expected `{getattr(type_, '__name__', type_)}`, got `{type(value).__name__}`")


DEFAULT_SERIALIZER = MsgpackSerializer()


def builtin_serializers() -> dict[str, Serializer]:
    """Return the serializers that every app has, by codec."""
    return {one.codec: one for one in (DEFAULT_SERIALIZER, JsonSerializer())}
