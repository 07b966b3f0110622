"""What a task returned, encoded and within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.errors import CodecError, PayloadTooLargeError
from qtasks_core.serializers import check_depth
from qtasks_core.wire import SIZE

if TYPE_CHECKING:
    from qtasks_core.contract import Serializer

__all__ = ["encode_result"]


def encode_result(
    serializer: Serializer, result: object, task: str, *, max_depth: int, max_bytes: int, noun: str = "result"
) -> bytes:
    """Return a result as bytes, without a frame.

    Parameters:
        serializer: Encodes it.
        result: What the task returned.
        task: Its name, for messages.
        max_depth: Deepest nesting.
        max_bytes: Largest size with its frame.
        noun: What it is, for messages.

    Raises:
        CodecError: It cannot be encoded, or is nested too deep.
        PayloadTooLargeError: It is too large.
    """
    try:
        raw = serializer.encode(result)
        check_depth(raw, result, max_depth, codec=serializer.codec)
    except CodecError as error:
        raise CodecError(f"the {noun} of task {task!r} {error}") from None
    if (size := SIZE + len(raw)) > max_bytes:
        raise PayloadTooLargeError(
            f"the {noun} of task {task!r} has {size:,} bytes, max_message_bytes is {max_bytes:,}; "
            "return a reference to the data (a path, a key)"
        )
    return raw
