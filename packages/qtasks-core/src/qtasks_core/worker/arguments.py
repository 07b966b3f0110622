"""From a message to the arguments of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.serializers import check_depth, convert, convert_texts, no_members, tells_depth

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Message, Serializer
    from qtasks_core.signatures import Converter

__all__ = ["ArgumentReader"]


class _Decoders(NamedTuple):
    """Of one codec; `none` is how no named arguments look, if known, `flat_bytes` a length that is flat enough."""

    args: Callable[[bytes], list[Any]]
    kwargs: Callable[[bytes], dict[str, Any]]
    none: bytes | None
    convert: Callable[[Any, Any], Any]
    flat_bytes: int


class ArgumentReader:
    """Reads the arguments of one task's messages.

    Parameters:
        converter: Makes decoded values what the function's annotations say.
        serializer: Returns the serializer of a codec.
        max_depth: Deepest nesting that is allowed.
    """

    def __init__(self, converter: Converter, serializer: Callable[[str], Serializer], max_depth: int) -> None:
        self._converter = converter
        self._serializer = serializer
        self._max_depth = max_depth
        self._decoders: dict[str, _Decoders] = {}

    def read(self, message: Message) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a message, converted to the function's annotations.

        Raises:
            UnknownWireError: Its codec is not installed.
            CodecError: They cannot be decoded, are nested deeper than `max_depth`, or one does not fit.
        """
        codec = message.codec
        decoders = self._decoders.get(codec)
        if decoders is None:
            decoders = self._decoders[codec] = self._decoders_of(codec)
        read_args, read_kwargs, none, convert_one, flat_bytes = decoders
        args = read_args(message.args)
        kwargs = {} if message.kwargs == none else read_kwargs(message.kwargs)
        if len(message.args) > flat_bytes:
            check_depth(message.args, args, self._max_depth, around=1, codec=codec)
        if len(message.kwargs) > flat_bytes:
            check_depth(message.kwargs, kwargs, self._max_depth, around=1, codec=codec)
        return self._converter.convert(args, kwargs, convert_one)

    def _decoders_of(self, codec: str) -> _Decoders:
        serializer = self._serializer(codec)
        return _Decoders(
            serializer.decoder(list[Any]),
            serializer.decoder(dict[str, Any]),
            no_members(codec),
            convert_texts if getattr(serializer, "text_keys", False) else convert,
            self._max_depth if tells_depth(codec) else -1,
        )
