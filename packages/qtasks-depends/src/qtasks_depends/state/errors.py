"""What can be wrong with a state: where it is declared, what is put into it, and locks that were lost."""

from __future__ import annotations

from qtasks_core.errors import QTasksError, RegistrationError

__all__ = ["StateDeclarationError", "StateKeyError", "StateLockLostError", "StateTypeError"]


class StateDeclarationError(RegistrationError):
    """A state cannot be kept or provided as it is declared."""


class StateKeyError(QTasksError):
    """The class of a state has annotations, and none of this name."""


class StateTypeError(QTasksError):
    """A value is not of the annotated type, or cannot travel."""


class StateLockLostError(QTasksError):
    """A write was refused: a lock under which it was made is not held any more. Nothing was written."""
