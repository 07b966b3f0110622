"""What a task returned, encoded and within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.errors import CodecError, PayloadTooLargeError
from qtasks_core.serializers import check_depth, tells_depth
from qtasks_core.wire import SIZE

if TYPE_CHECKING:
    from qtasks_core.contract import Serializer

__all__ = ["ResultEncoder"]


class ResultEncoder:
    """Encodes results, without a frame.

    Parameters:
        serializer: Of the app's codec.
        max_depth: Deepest nesting.
        max_bytes: Largest size with its frame.
    """

    def __init__(self, serializer: Serializer, max_depth: int, max_bytes: int) -> None:
        self.codec = serializer.codec
        self._encode = serializer.encode
        self._max_depth = max_depth
        self._max_bytes = max_bytes
        self._flat_bytes = max_depth if tells_depth(self.codec) else -1

    def encode(self, value: object, task: str, noun: str = "result") -> bytes:
        """Return a value as bytes.

        Parameters:
            value: What the task returned, or yielded.
            task: Its name, for messages.
            noun: What it is, for messages.

        Raises:
            CodecError: It cannot be encoded, or is nested too deep.
            PayloadTooLargeError: It is too large.
        """
        try:
            raw = self._encode(value)
            if len(raw) > self._flat_bytes:
                check_depth(raw, value, self._max_depth, codec=self.codec)
        except CodecError as error:
            raise CodecError(f"the {noun} of task {task!r} {error}") from None
        if len(raw) + SIZE > self._max_bytes:
            raise PayloadTooLargeError(
                f"the {noun} of task {task!r} has {len(raw) + SIZE:,} bytes, max_message_bytes is "
                f"{self._max_bytes:,}; return a reference to the data (a path, a key)"
            )
        return raw
