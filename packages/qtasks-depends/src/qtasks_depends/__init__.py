"""Depends and State for QTasks: dependencies with scopes, and state that all workers share."""

from __future__ import annotations

from qtasks_depends.errors import DependencyError, DependencyOpenError
from qtasks_depends.marking import Dependency, Depends, ScopeEnum
from qtasks_depends.state import (
    AsyncState,
    StateDeclarationError,
    StateKeyError,
    StateLockLostError,
    StateTypeError,
    SyncState,
)

__all__ = [
    "AsyncState",
    "Dependency",
    "DependencyError",
    "DependencyOpenError",
    "Depends",
    "ScopeEnum",
    "StateDeclarationError",
    "StateKeyError",
    "StateLockLostError",
    "StateTypeError",
    "SyncState",
]
