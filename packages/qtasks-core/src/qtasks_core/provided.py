"""Parameters that no caller passes: which they are, and how their values are put between the caller's."""

from __future__ import annotations

import inspect
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.errors import RegistrationError
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Place", "context_places", "put_between"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OF_FACE = {
    True: "the context of an async def, qtasks.asyncio.TaskContext",
    False: "the context of a def, qtasks.TaskContext",
}
_CONTEXTS = {kind.__name__: kind for kind in (TaskContext, AsyncTaskContext, BlockingTaskContext)}


class Place(NamedTuple):
    """A parameter, and its position where it can be passed by position."""

    name: str
    position: int | None


def context_places(function: Callable[..., Any], task: str, *, echo: bool, is_async: bool) -> tuple[Place, ...]:
    """Return the parameters that get the task's context: those annotated so, and the first one under *echo*.

    Raises:
        RegistrationError: There is no first parameter, or an annotation is of the other face.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if echo and (not parameters or parameters[0].kind not in (*_POSITIONAL, Parameter.VAR_POSITIONAL)):
        raise RegistrationError(f"task {task!r}: echo: expected a first parameter for the context, there is none")
    expected = AsyncTaskContext if is_async else BlockingTaskContext
    places = []
    for index, parameter in enumerate(parameters):
        wanted = _context_of(parameter, function)
        if wanted is not None and not issubclass(expected, wanted):
            raise RegistrationError(
                f"task {task!r}: parameter {parameter.name!r}: expected {_OF_FACE[is_async]}, got {wanted.__name__}"
            )
        if wanted is not None or (echo and index == 0):
            places.append(Place(parameter.name, index if parameter.kind is not Parameter.KEYWORD_ONLY else None))
    return tuple(places)


def put_between(
    places: Iterable[Place], values: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a caller's arguments with the provided ones in their places.

    Parameters:
        places: In the order of the function's parameters.
        values: By name of the parameter.
        args: The caller's.
        kwargs: The caller's.
    """
    positional, named = list(args), dict(kwargs)
    for name, index in places:
        if index is not None and index <= len(positional):
            positional.insert(index, values[name])
        else:
            named[name] = values[name]
    return tuple(positional), named


def _context_of(parameter: Parameter, function: Any) -> type[TaskContext] | None:
    hint = parameter.annotation
    if isinstance(hint, str):
        hint = _named(hint, function)
    return hint if isinstance(hint, type) and issubclass(hint, TaskContext) else None


def _named(hint: str, function: Any) -> Any:
    """Return what a text annotation names in the function's module; by its name alone where that is not there."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function if inspect.isroutine(function) else type(function).__call__)
    first, *rest = hint.split(".")
    found = getattr(function, "__globals__", {}).get(first)
    for name in rest:
        found = getattr(found, name, None)
    return _CONTEXTS.get(hint.rpartition(".")[2]) if found is None else found
