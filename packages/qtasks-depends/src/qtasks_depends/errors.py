"""What can be wrong with dependencies: when a task is declared, and when one is opened."""

from __future__ import annotations

from qtasks_core.errors import QTasksError, RegistrationError

__all__ = ["DependencyError", "DependencyOpenError"]


class DependencyError(RegistrationError):
    """A dependency of a task cannot be provided as it is declared; says the way to it from the task."""


class DependencyOpenError(QTasksError):
    """A dependency did not open: its generator yielded nothing, or its component has stopped."""
