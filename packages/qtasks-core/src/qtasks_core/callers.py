"""Compiled calls: a plugin's function is called with what it takes of a trigger's arguments, without asking again."""

from __future__ import annotations

import inspect
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["compiled"]


def compiled(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what calls a function with some of the values that it is given by name.

    By position where that is the same: it spares a dictionary for each call.

    Parameters:
        function: A function or a coroutine function.
        names: The arguments that it takes.
    """
    places = _by_position(function, names)
    if places is None:
        return lambda values: function(**{name: values[name] for name in names})
    if not places:
        return lambda _: function()
    if len(places) == 1:
        (only,) = places
        return lambda values: function(values[only])
    if len(places) == 2:  # noqa: PLR2004  # as most are
        one, two = places
        return lambda values: function(values[one], values[two])
    chosen = itemgetter(*places)
    return lambda values: function(*chosen(values))


def _by_position(function: Callable[..., Any], names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the arguments in the function's own order; None: they cannot all be given by position."""
    try:
        parameters = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):  # a callable that tells nothing of itself
        return None
    first = parameters[: len(names)]
    if {one.name for one in first} != set(names) or any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in first):
        return None
    return tuple(one.name for one in first)
