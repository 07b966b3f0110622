"""A run whose arguments are read where its function runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.errors import CodecError
from qtasks_core.task_context import enter
from qtasks_core.worker.execution import TaskExecution

if TYPE_CHECKING:
    from qtasks_core.contract import Delivery, Execution, Message, Serializer
    from qtasks_core.worker.execution import Plan

__all__ = ["ProcessExecution", "travelling"]


class ProcessExecution(TaskExecution):
    """One run of one task in a process: its arguments stay bytes here, unless a plugin or a middleware reads them.

    What was read here is sent as it is then, for it may have been changed. Contexts are provided in the process.
    """

    def __init__(self, plan: Plan, delivery: Delivery, message: Message, started_at: float) -> None:
        self._read: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        super().__init__(plan, delivery, message, started_at)
        self._read = None  # what every run begins with was not read

    def open(self, *, seen: bool = True) -> None:  # noqa: ARG002  # nothing is provided here
        """Be what `current_context()` finds from now on, in plugins and middlewares."""
        enter(self)

    @property
    def args(self) -> tuple[Any, ...]:
        """Read when they are first asked for."""
        return self._values()[0]

    @args.setter
    def args(self, args: tuple[Any, ...]) -> None:
        self._read = (args, {} if self._read is None else self._read[1])

    @property
    def kwargs(self) -> dict[str, Any]:
        """Read when they are first asked for."""
        return self._values()[1]

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        self._read = (() if self._read is None else self._read[0], kwargs)

    @property
    def was_read(self) -> bool:
        """Whether somebody has asked for the arguments here, or has set them."""
        return self._read is not None

    def _values(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._read is None:
            self._read = self.plan.decode(self.message)
        return self._read


def travelling(execution: Execution, serializer: Serializer) -> Message:
    """Return the message that goes to the process: the caller's, unless its arguments were read here.

    Parameters:
        execution: The run.
        serializer: Of the message's codec.

    Raises:
        CodecError: A plugin or a middleware put something there that cannot travel.
    """
    if isinstance(execution, ProcessExecution) and not execution.was_read:
        return execution.message
    try:
        args, kwargs = serializer.encode(execution.args), serializer.encode(execution.kwargs)
    except CodecError as error:
        text = f"{execution.task_name}(): an argument that a plugin or a middleware has put there {error}"
        raise CodecError(text) from None
    return msgspec.structs.replace(execution.message, args=args, kwargs=kwargs)
