"""Exceptions, as they travel from the process that ran a task to its worker: in words, never as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.errors import (
    ArgumentError,
    CodecError,
    PayloadTooLargeError,
    Postpone,
    QTasksError,
    RemoteTaskError,
    Retry,
    TaskCancelError,
    TaskPluginTriggerError,
    UnknownWireError,
)
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.wire import pack_error, unpack_error
from qtasks_core.worker.outcomes import describe
from qtasks_core.worker.processes.messages import Failure, Meaning

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["raised", "to_failure"]

_OF_ONE_TEXT: Mapping[Meaning, type[QTasksError]] = {
    "cancel": TaskCancelError,
    "argument": ArgumentError,
    "codec": CodecError,
    "too large": PayloadTooLargeError,
    "unknown wire": UnknownWireError,
}
"""What the worker has a rule of its own for, and no more to know of than its message; a subclass before its base."""

_read_values = DEFAULT_SERIALIZER.decoder(dict[str, Any])


def to_failure(error: BaseException) -> Failure:
    """Return what a worker is told of an exception."""
    words = pack_error(describe(error))
    if isinstance(error, (Retry, Postpone)):
        return Failure("retry" if isinstance(error, Retry) else "postpone", words, delay=error.delay)
    if isinstance(error, TaskPluginTriggerError):
        return _ask_plugins(error, words)
    meaning = next((meaning for meaning, kind in _OF_ONE_TEXT.items() if isinstance(error, kind)), None)
    if meaning is not None:
        return Failure(meaning, words)
    return Failure("error", words, [_name(kind) for kind in type(error).__mro__])


def raised(failure: Failure) -> BaseException:
    """Return the exception that stands for a failure in the worker."""
    words = unpack_error(failure.words)
    if failure.meaning == "retry":
        return Retry(failure.delay)
    if failure.meaning == "postpone":
        return Postpone(failure.delay or 0.0)
    if failure.meaning == "ask plugins":
        return TaskPluginTriggerError(**_read_values(failure.values))
    if failure.meaning == "error":
        return RemoteTaskError(words.message, words.type_name, words.traceback, failure.kinds)
    return _OF_ONE_TEXT[failure.meaning](words.message)


def _ask_plugins(error: TaskPluginTriggerError, words: bytes) -> Failure:
    try:
        return Failure("ask plugins", words, values=DEFAULT_SERIALIZER.encode(error.kwargs))
    except CodecError as refused:
        return Failure("codec", pack_error(describe(CodecError(f"what plugins are told {refused}"))))


def _name(kind: type[BaseException]) -> str:
    """Return a class's name as its worker has it, where the started program is `__main__`."""
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}.{kind.__qualname__}"
