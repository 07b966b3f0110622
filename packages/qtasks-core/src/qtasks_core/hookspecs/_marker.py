"""The marks of a trigger's declaration: that it is one, and what besides its arguments is true of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.hookspecs._kept import Kept

__all__ = ["hookspec", "is_synchronous", "keeps", "kept_by", "synchronous"]

F = TypeVar("F", bound="Callable[..., Any]")

hookspec = HookspecMarker("qtasks")


def synchronous(declaration: F) -> F:
    """Say that a trigger is called where no event loop runs, so that a coroutine function cannot answer it."""
    declaration.is_synchronous = True  # type: ignore[attr-defined]
    return declaration


def keeps(kept: Kept) -> Callable[[F], F]:
    """Say what of the value that a trigger replaces has to stay as it is."""

    def mark(declaration: F) -> F:
        declaration.kept = kept  # type: ignore[attr-defined]
        return declaration

    return mark


def is_synchronous(declaration: object) -> bool:
    """Whether a trigger is synchronous."""
    return getattr(declaration, "is_synchronous", False)


def kept_by(declaration: object) -> Kept | None:
    """Return what of the value that a trigger replaces has to stay as it is."""
    return getattr(declaration, "kept", None)
