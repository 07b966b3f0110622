"""All errors of QTasks: one root, one sentence each.

QTasksError
├── ConfigError (ValueError)              a setting, an option or a URL is wrong
│   ├── UnknownSchemeError                no installed package serves this URL scheme
│   └── PluginError                       a plugin is broken, incompatible, or changes what it may not
├── RegistrationError (ValueError)        a task cannot be declared like this
├── UnboundTaskError (RuntimeError)       a task of a router is called before an app has it
├── BlockingCallError (RuntimeError)      a blocking call on a thread that runs an event loop
├── WireError (ValueError)                a body cannot be read
│   └── UnknownWireError                  written by a newer major version, or with a codec that is not installed
├── CodecError (ValueError)               a value cannot be encoded, or does not fit the type it is wanted as
│   └── ArgumentError                     the same for an argument of a task; names the parameter
├── SendError                             a task could not be sent
│   ├── SendRefusedError                  it is certainly not queued
│   │   └── PayloadTooLargeError          it is larger than max_message_bytes
│   ├── SendUnknownError                  it may be queued; adding it again under its uuid is safe
│   └── AddManyError (ExceptionGroup)     some tasks of an `add_many` could not be sent; keeps those that were
├── ItemError                             what a component answers for one item of a batch
│   ├── UnavailableError                  the server is away; the item is kept and repeated
│   ├── RefusedError                      this item will never work
│   ├── FencedError                       the delivery is not ours any more
│   ├── AlreadyFinal                      an earlier final record stays
│   └── AlreadyExists                     that uuid or unique key is there already
├── ResultError                           what `result()` raises
│   ├── TaskFailedError                   the task raised; holds the remote traceback
│   │   └── TaskDeadError                 the task never got to an end of its own
│   ├── TaskCancelledError                the task was cancelled, or expired before it started
│   └── ResultExpiredError (LookupError)  nobody keeps that result (any more)
├── RemoteTaskError                       what a task raised in a process of its own, in words
├── TaskProcessError                      the process that ran the task died
├── TaskTimeoutError (TimeoutError)       a run took longer than its timeout
└── TaskSignal                            raised inside a task to say how its run ends
    ├── Retry                             run again, as a further attempt
    ├── Postpone                          put back, not counted as an attempt
    ├── TaskCancelError                   end as cancelled
    └── TaskPluginTriggerError            ask a plugin for the result
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

__all__ = [
    "AddManyError",
    "AlreadyExists",
    "AlreadyFinal",
    "ArgumentError",
    "BlockingCallError",
    "CodecError",
    "ConfigError",
    "FencedError",
    "ItemError",
    "PayloadTooLargeError",
    "PluginError",
    "Postpone",
    "QTasksError",
    "RefusedError",
    "RegistrationError",
    "RemoteTaskError",
    "ResultError",
    "ResultExpiredError",
    "Retry",
    "SendError",
    "SendRefusedError",
    "SendUnknownError",
    "TaskCancelError",
    "TaskCancelledError",
    "TaskDeadError",
    "TaskFailedError",
    "TaskPluginTriggerError",
    "TaskProcessError",
    "TaskSignal",
    "TaskTimeoutError",
    "UnavailableError",
    "UnboundTaskError",
    "UnknownSchemeError",
    "UnknownWireError",
    "WireError",
]


class QTasksError(Exception):
    """The root of every error that QTasks raises on purpose."""


class ConfigError(QTasksError, ValueError):
    """A setting, an option or a URL is wrong; the message says what was expected."""


class UnknownSchemeError(ConfigError):
    """No installed package serves this URL scheme."""


class PluginError(ConfigError):
    """A plugin is broken, incompatible, or changes what it may not; names it (an installed one with its version)."""


class RegistrationError(QTasksError, ValueError):
    """A task cannot be declared like this."""


class UnboundTaskError(QTasksError, RuntimeError):
    """A task that was declared without an app belongs to none yet, or to several."""


class BlockingCallError(QTasksError, RuntimeError):
    """A blocking call was made on a thread that runs an event loop; use `app.aio` or `task.aio`."""


class WireError(QTasksError, ValueError):
    """A body cannot be read."""


class UnknownWireError(WireError):
    """A body was written by a newer major version, or with a codec that is not installed."""


class CodecError(QTasksError, ValueError):
    """A value cannot be encoded, or does not fit the type it is wanted as."""


class ArgumentError(CodecError):
    """An argument of a task does not fit; names the parameter, the expected type and the value."""


class SendError(QTasksError):
    """A task could not be sent."""


class SendRefusedError(SendError):
    """A task is certainly not queued."""


class PayloadTooLargeError(SendRefusedError):
    """A message or result is larger than `max_message_bytes`."""


class SendUnknownError(SendError):
    """No answer came: the task may be queued. Adding it again under `uuid` is safe.

    Parameters:
        message: What happened.
        uuid: The task's id, when the sender knows it.
    """

    def __init__(self, message: str = "no answer came", uuid: UUID | None = None) -> None:
        super().__init__(message)
        self.uuid = uuid


class AddManyError(ExceptionGroup[Exception], SendError):
    """Some tasks of an `add_many` could not be sent.

    Parameters:
        message: How many of how many.
        errors: One for each task that was not accepted.
        tasks: In the order of the call: the task that was accepted, or None.
    """

    tasks: Sequence[Any]

    def __new__(cls, message: str, errors: Sequence[Exception], tasks: Sequence[Any] = ()) -> Self:
        """Make the group."""
        group = super().__new__(cls, message, errors)
        group.tasks = tasks
        return group

    def derive(self, excs: Sequence[Exception]) -> AddManyError:  # type: ignore[override]  # narrower on purpose
        """Return a part of the group; it keeps the accepted tasks."""
        return AddManyError(self.message, excs, self.tasks)


class ItemError(QTasksError):
    """What a component answers for one item of a batch."""


class UnavailableError(ItemError):
    """The server is away; the engine keeps the item and repeats it."""


class RefusedError(ItemError):
    """This item will never work: too large, unroutable, malformed."""


class FencedError(ItemError):
    """The delivery is not ours any more; nothing of the item was applied."""


class AlreadyFinal(ItemError):  # noqa: N818  # an answer, not a failure: named as the contract names it
    """An earlier final record stays."""


class AlreadyExists(ItemError):  # noqa: N818  # an answer, not a failure: named as the contract names it
    """That uuid or unique key is there already.

    Parameters:
        uuid: The task that is there; the item's own uuid means success.
    """

    def __init__(self, uuid: UUID) -> None:
        super().__init__(uuid)
        self.uuid = uuid

    def __str__(self) -> str:
        return f"task {self.uuid} is there already"


class ResultError(QTasksError):
    """What `result()` raises when there is no value to return."""


class TaskFailedError(ResultError):
    """The task raised.

    Parameters:
        message: The remote error in one line.
        uuid: The task.
        type_name: Qualified name of the remote exception's class.
        traceback: The remote traceback as text; may be empty.
    """

    def __init__(self, message: str, uuid: UUID | None = None, type_name: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.uuid = uuid
        self.type_name = type_name
        self.traceback = traceback
        if traceback:
            self.add_note(f"remote traceback:\n{traceback.rstrip()}")


class TaskDeadError(TaskFailedError):
    """The task never got to an end of its own: it killed its workers, nobody knew it, or it was unreadable."""


class TaskCancelledError(ResultError):
    """The task was cancelled, or expired before it started; the message is the reason."""


class ResultExpiredError(ResultError, LookupError):
    """Nobody keeps that result: it expired, was never asked for, or the uuid is unknown."""


class RemoteTaskError(QTasksError):
    """What a task raised in a process of its own, in words: an exception itself does not leave its process.

    Parameters:
        message: The exception's message.
        type_name: Qualified name of its class.
        traceback: Its traceback as text.
        kinds: Qualified names of its class and of all bases of it.
    """

    def __init__(self, message: str, type_name: str = "", traceback: str = "", kinds: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.type_name = type_name
        self.traceback = traceback
        self.kinds = frozenset(kinds)

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"

    def is_one_of(self, kinds: Sequence[type[BaseException]]) -> bool:
        """Return what `isinstance` says of an exception that is here: it is of one of these classes."""
        return any(f"{kind.__module__}.{kind.__qualname__}" in self.kinds for kind in kinds)


class TaskProcessError(QTasksError):
    """The process that ran the task died; the message has its exit code, or the signal that killed it."""


class TaskTimeoutError(QTasksError, TimeoutError):
    """The run took longer than its timeout; what a task of this kind is tried again for like any other error."""


class TaskSignal(QTasksError):  # noqa: N818  # control flow, not a failure
    """Raised inside a task to say how its run ends."""


class Retry(TaskSignal):
    """Run the task again, as a further attempt.

    Parameters:
        delay: Seconds to wait before; None takes the task's own backoff.
    """

    def __init__(self, delay: float | None = None) -> None:
        super().__init__(delay)
        self.delay = delay

    def __str__(self) -> str:
        return "retry" if self.delay is None else f"retry in {self.delay} s"


class Postpone(TaskSignal):
    """Put the task back without counting an attempt.

    Parameters:
        delay: Seconds to wait before it may be taken again.
    """

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(delay)
        self.delay = delay

    def __str__(self) -> str:
        return f"postpone by {self.delay} s"


class TaskCancelError(TaskSignal):
    """End the task as cancelled; the message is the reason."""


class TaskPluginTriggerError(TaskSignal):
    """Ask the trigger `task_executor_run_task_trigger_error` for the result.

    Parameters:
        kwargs: What the plugin is told.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__("a plugin is asked for the result")
        self.kwargs = kwargs

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.kwargs), ()
