"""What a dependency is: how its value is made, and whether it is left again."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kind", "Making", "making_of"]

Kind = Literal["async", "sync", "async generator", "async manager", "manager"]
"""Of generators the value is what they yield, of managers what entering gives; of others what calling gives."""


class Making(NamedTuple):
    """How a value is made."""

    kind: Kind
    make: Callable[..., Any]
    """Returns the value, a coroutine of it, the generator or the context manager."""

    @property
    def is_async(self) -> bool:
        """Whether it belongs on the loop."""
        return self.kind.startswith("async")


def making_of(function: Callable[..., Any]) -> Making:
    """Return how the value of a dependency is made.

    Generator functions, functions that `contextlib` decorated, and classes that are context managers are entered; what
    another function returns is the value, whatever it is.

    Parameters:
        function: A function of any kind, an object that can be called, or a class.
    """
    if inspect.isclass(function):
        return Making(_kind_of_class(function), function)
    found = _called(function)
    inside = inspect.unwrap(found)
    if inspect.isasyncgenfunction(inside):
        if inside is found:
            return Making("async generator", function)
        return Making("async manager", _entered(function, "__aenter__", asynccontextmanager))
    if inspect.isgeneratorfunction(inside):
        make = contextmanager(function) if inside is found else _entered(function, "__enter__", contextmanager)
        return Making("manager", make)
    if inspect.iscoroutinefunction(found):
        return Making("async", function)
    return Making("async", _awaited(function)) if inspect.iscoroutinefunction(inside) else Making("sync", function)


def _kind_of_class(found: type) -> Kind:
    if hasattr(found, "__aenter__") and hasattr(found, "__aexit__"):
        return "async manager"
    return "manager" if hasattr(found, "__enter__") and hasattr(found, "__exit__") else "sync"


def _called(function: Callable[..., Any]) -> Any:
    """Return the function behind a partial, or that of an object."""
    found: Any = function
    while isinstance(found, partial):
        found = found.func
    return found if inspect.isroutine(found) else getattr(found, "__call__", found)  # noqa: B004  # it is looked at


def _awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what awaits what a decorated coroutine function returns, where it can be awaited."""

    async def make(**kwargs: Any) -> Any:
        made = function(**kwargs)
        return await made if inspect.isawaitable(made) else made

    return make


def _entered(function: Callable[..., Any], enter: str, as_manager: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a context manager of what a decorated generator function returns, where it is none."""

    def make(**kwargs: Any) -> Any:
        made = function(**kwargs)
        return made if hasattr(made, enter) else as_manager(lambda: made)()

    return make
