"""From a message to the arguments of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.serializers import check_depth

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Message, Serializer
    from qtasks_core.signatures import Converter

__all__ = ["ArgumentReader"]


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
        self._decoders: dict[str, tuple[Callable[[bytes], list[Any]], Callable[[bytes], dict[str, Any]], bool]] = {}

    def read(self, message: Message) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a message, converted to the function's annotations.

        Raises:
            UnknownWireError: Its codec is not installed.
            CodecError: They cannot be decoded, are nested deeper than `max_depth`, or one does not fit.
        """
        codec = message.codec
        decoders = self._decoders.get(codec)
        if decoders is None:
            serializer = self._serializer(codec)
            has_text_keys = bool(getattr(serializer, "text_keys", False))
            decoders = serializer.decoder(list[Any]), serializer.decoder(dict[str, Any]), has_text_keys
            self._decoders[codec] = decoders
        read_args, read_kwargs, has_text_keys = decoders
        args, kwargs = read_args(message.args), read_kwargs(message.kwargs)
        check_depth(message.args, args, self._max_depth, around=1, codec=codec)
        check_depth(message.kwargs, kwargs, self._max_depth, around=1, codec=codec)
        return self._converter.convert(args, kwargs, text_keys=has_text_keys)
