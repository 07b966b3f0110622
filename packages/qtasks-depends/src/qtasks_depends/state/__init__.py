"""State that all workers share: one bucket per class and key, in the app's global config."""

from __future__ import annotations

from qtasks_depends.state.errors import StateDeclarationError, StateKeyError, StateLockLostError, StateTypeError
from qtasks_depends.state.injected import bound, check_state, state_class_of
from qtasks_depends.state.states import AsyncState, State, SyncState

__all__ = [
    "AsyncState",
    "State",
    "StateDeclarationError",
    "StateKeyError",
    "StateLockLostError",
    "StateTypeError",
    "SyncState",
    "bound",
    "check_state",
    "state_class_of",
]
