"""After a fork the child forgets loops, locks, buffers and sockets, without a word on them."""

from __future__ import annotations

import itertools
import os
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["after_fork", "keep_for_ever"]

T = TypeVar("T")

_numbers = itertools.count()
_forgetful: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
_kept: list[object] = []


def after_fork(owner: T, forget: Callable[[T], None]) -> None:
    """Call *forget* with *owner* in a forked child, as long as *owner* lives; may be called from any thread."""
    number = next(_numbers)
    entries = _forgetful  # bound here: at the interpreter's end the module's names may be gone before the owners
    entries[number] = (weakref.ref(owner, lambda _: entries.pop(number, None)), forget)


def keep_for_ever(thing: object) -> None:
    """Keep what the parent opened from being finalised in the child: closing it would speak to the parent's server."""
    _kept.append(thing)


def _in_child() -> None:
    for ref, forget in list(_forgetful.values()):
        owner = ref()
        if owner is not None:
            forget(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
