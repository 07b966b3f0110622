"""The codecs of an app: those that it reads, and the one that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.errors import CodecError, ConfigError, UnknownWireError
from qtasks_core.serializers import DEFAULT_SERIALIZER, builtin_serializers
from qtasks_core.wire import unpack_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Message, Serializer

__all__ = ["CodecRegistry"]


class CodecRegistry:
    """Serializers by the name of their codec: msgpack, json, and what the user adds.

    Parameters:
        chosen: What the app writes: a serializer, which is added, or the name of a codec; None is msgpack.

    Raises:
        ConfigError: It is neither.
    """

    def __init__(self, chosen: Serializer | str | None = None) -> None:
        self._serializers = builtin_serializers()
        self._added: dict[str, object] = {}
        self._decoders: dict[tuple[str, Any], Callable[[bytes], Any]] = {}
        self.chosen: Serializer = DEFAULT_SERIALIZER
        """Writes arguments, results and yielded values."""
        if isinstance(chosen, str):
            self.chosen = self._named(chosen)
        elif chosen is not None:
            self.add(chosen)
            self.chosen = self._serializers[chosen.codec]

    def add(self, serializer: Serializer) -> None:
        """Install a serializer.

        Raises:
            ConfigError: It is none, or its codec is installed already.
        """
        given: Any = serializer  # whatever the user passed
        codec = getattr(given, "codec", None)
        is_whole = callable(getattr(given, "encode", None)) and callable(getattr(given, "decoder", None))
        if not isinstance(codec, str) or not codec or isinstance(given, type) or not is_whole:
            raise ConfigError(f"serializer: expected an object with codec, encode() and decoder(), got {serializer!r}")
        if self._added.get(codec) is given:
            return
        if codec in self._serializers:
            raise ConfigError(f"serializer: the codec {codec!r} is installed already; give another one another name")
        self._added[codec] = given
        self._serializers[codec] = _Guarded(serializer)

    def of(self, codec: str) -> Serializer:
        """Return the serializer of a codec.

        Raises:
            UnknownWireError: It is not installed.
        """
        found = self._serializers.get(codec)
        if found is None:
            raise UnknownWireError(f"expected one of the codecs {', '.join(self._serializers)}, got {codec!r}")
        return found

    def result_decoder(self, codec: str, type_: Any) -> Callable[[bytes], Any]:
        """Return the compiled decoder of results of this type.

        Raises:
            UnknownWireError: The codec is not installed.
        """
        key = (codec, type_)
        try:
            found = self._decoders.get(key)
        except TypeError:  # an annotation that cannot be hashed
            return self.of(codec).decoder(type_)
        if found is None:
            found = self._decoders[key] = self.of(codec).decoder(type_)
        return found

    def plain_arguments(self, message: Message) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a message as plain decoded data.

        Raises:
            UnknownWireError: Their codec is not installed.
            CodecError: They are damaged.
        """
        decode = self.of(message.codec).decoder(Any)
        return tuple(decode(message.args)), decode(message.kwargs)

    def decode_value(self, raw: bytes) -> Any:
        """Return a value that a task yielded.

        Raises:
            WireError: It is damaged, or its codec is not installed.
        """
        codec, payload = unpack_value(raw)
        return self.result_decoder(codec, Any)(payload)

    def _named(self, codec: str) -> Serializer:
        found = self._serializers.get(codec)
        if found is None:
            names = " or ".join(map(repr, self._serializers))
            raise ConfigError(f"serializer: expected {names}, or an object that is a Serializer, got {codec!r}")
        return found


class _Guarded:
    """A serializer of the user's: whatever it raises is a CodecError, since trying again would not help."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self.codec = serializer.codec
        self.text_keys = bool(getattr(serializer, "text_keys", False))

    def encode(self, value: object) -> bytes:
        try:
            raw = self._serializer.encode(value)
        except Exception as error:
            raise CodecError(f"cannot be encoded as {self.codec}: {_told(error)}") from error
        if not isinstance(raw, bytes):
            raise CodecError(f"cannot be encoded as {self.codec}: expected bytes, got {type(raw).__name__}")
        return raw

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        try:
            decode = self._serializer.decoder(type_)
        except Exception as error:
            raise CodecError(f"{self.codec} cannot be decoded as {type_}: {_told(error)}") from error

        def read(raw: bytes) -> Any:
            try:
                return decode(raw)
            except Exception as error:
                raise CodecError(_told(error)) from error

        return read


def _told(error: Exception) -> str:
    """Return the words of an expected error, of another its type too."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
