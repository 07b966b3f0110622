"""Parameters that no caller passes: which they are, and how their values are put between the caller's.

A context is there when the run is opened. What a plugin provides is made last of all, inside of all middlewares; until
then a `Pending` stands in its place.
"""

from __future__ import annotations

import inspect
from functools import partial
from inspect import Parameter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from qtasks_core.errors import PluginError, RegistrationError
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qtasks_core.contract import Execution
    from qtasks_core.releases import Releases
    from qtasks_core.task_context import RunningTask

__all__ = [
    "NOT_READY",
    "AllPending",
    "Injector",
    "Pending",
    "Place",
    "ReadyInjector",
    "all_pending",
    "context_places",
    "injected_places",
    "provide",
    "put_between",
    "put_opened",
    "put_ready",
]

NOT_READY: Any = type("NotReady", (), {"__repr__": lambda _: "NOT_READY"})()
"""What `ReadyInjector.ready` answers when the value is still to be made."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OF_FACE = {
    True: "the context of an async def, qtasks.asyncio.TaskContext",
    False: "the context of a def, qtasks.TaskContext",
}
_CONTEXTS = {kind.__name__: kind for kind in (TaskContext, AsyncTaskContext, BlockingTaskContext)}


@runtime_checkable
class Injector(Protocol):
    """What provides one parameter of one task: the answer to `qtasks_register_injector`."""

    def provide(self, execution: Execution, releases: Releases) -> Any:
        """Return the parameter's value for one run, or an awaitable of it; what it raises fails that run.

        Parameters:
            execution: The run.
            releases: What is to be released when the run is over is appended; the last goes first.
        """
        ...


@runtime_checkable
class ReadyInjector(Injector, Protocol):
    """Optional: an injector that often has its value already: then nothing is put around a run."""

    def ready(self, execution: Execution) -> Any:
        """Return the parameter's value when it is there and nothing is to be released after the run, else `NOT_READY`.

        Parameters:
            execution: The run.
        """
        ...


class Pending:
    """Stands for a value that is made when middlewares and plugins are done with the arguments.

    Parameters:
        name: The parameter.
        injector: Provides it.
    """

    __slots__ = ("injector", "name", "ready")

    def __init__(self, name: str, injector: Injector) -> None:
        self.name = name
        self.injector = injector
        self.ready: Callable[[Execution], Any] = injector.ready if isinstance(injector, ReadyInjector) else _never_ready
        """Returns the value when it is there, else `NOT_READY`."""

    @property
    def may_be_ready(self) -> bool:
        """Whether it is worth asking."""
        return self.ready is not _never_ready

    def __repr__(self) -> str:
        return f"<{self.name}: not provided yet>"


class Place(NamedTuple):
    """A parameter, and its position where it can be passed by position."""

    name: str
    position: int | None
    pending: Pending | None = None
    """None: it gets the context."""


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


def injected_places(
    function: Callable[..., Any], task: str, injectors: Mapping[str, Injector], taken: Iterable[Place]
) -> tuple[Place, ...]:
    """Return all places of a function when injectors are added to those it has.

    Parameters:
        function: The task's function.
        task: The task's name, for messages.
        injectors: By name of the parameter.
        taken: The places it has.

    Raises:
        PluginError: There is no such parameter, it is provided already, or what was given is no injector.
    """
    places = {place.name: place for place in taken}
    parameters = list(inspect.signature(function).parameters.values())
    known = {one.name: (index, one) for index, one in enumerate(parameters)}
    for name, injector in injectors.items():
        if name not in known or known[name][1].kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise PluginError(f"task {task!r}: an injector is for the parameter {name!r}, which there is not")
        if name in places:
            raise PluginError(f"task {task!r}: parameter {name!r} is provided already")
        if not isinstance(injector, Injector):
            raise PluginError(f"task {task!r}: parameter {name!r}: expected an Injector, got {injector!r}")
        index, parameter = known[name]
        position = index if parameter.kind is not Parameter.KEYWORD_ONLY else None
        places[name] = Place(name, position, Pending(name, injector))
    return tuple(places[one.name] for one in parameters if one.name in places)


def put_opened(
    places: Sequence[Place], run: RunningTask, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a caller's arguments with the run's context, and what is pending, in their places.

    Parameters:
        places: In the order of the function's parameters.
        run: It makes its context when a place wants one.
        args: The caller's.
        kwargs: The caller's.
    """
    return put_between(places, {place.name: place.pending or run.context for place in places}, args, kwargs)


class AllPending(NamedTuple):
    """What plugins provide of a function's parameters, where nothing else is provided and all stand in a row."""

    position: int
    """Of the first of them: so many arguments are passed by position before."""
    row: tuple[Pending, ...]


def all_pending(places: Sequence[Place]) -> AllPending | None:
    """Return the parameters that plugins provide, where they can be appended to what is passed by position.

    Parameters:
        places: In the order of the function's parameters.
    """
    row = tuple(place.pending for place in places if place.pending is not None)
    positions = [place.position for place in places]
    first = positions[0] if positions else None
    if first is None or len(row) < len(places) or positions != list(range(first, first + len(places))):
        return None
    return AllPending(first, row)


def put_ready(execution: Execution) -> bool:
    """Put values that are there in the place of what is pending among a run's arguments.

    Parameters:
        execution: The run.

    Returns:
        Whether nothing is pending any more.
    """
    is_complete = True
    kwargs = execution.kwargs
    for name, one in kwargs.items():
        if type(one) is Pending:
            value = one.ready(execution)
            if value is NOT_READY:
                is_complete = False
            else:
                kwargs[name] = value  # the key is there: the mapping stays as it is
    if Pending in map(type, execution.args):
        values = [one.ready(execution) if type(one) is Pending else one for one in execution.args]
        is_complete = is_complete and not any(value is NOT_READY for value in values)
        execution.args = tuple(
            one if value is NOT_READY else value for one, value in zip(execution.args, values, strict=True)
        )
    return is_complete


async def provide(execution: Execution, releases: Releases) -> None:
    """Make what is still pending among a run's arguments.

    Parameters:
        execution: The run.
        releases: Gets what releases it.
    """
    for index, one in enumerate(execution.args):
        if type(one) is Pending:
            made = one.injector.provide(execution, releases)
            value = await made if type(made) is CoroutineType or inspect.isawaitable(made) else made
            execution.args = (*execution.args[:index], value, *execution.args[index + 1 :])
    kwargs = execution.kwargs
    for name, one in kwargs.items():
        if type(one) is Pending:
            made = one.injector.provide(execution, releases)
            kwargs[name] = await made if type(made) is CoroutineType or inspect.isawaitable(made) else made


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
    for name, index, _ in places:
        if index is not None and index <= len(positional):
            positional.insert(index, values[name])
        else:
            named[name] = values[name]
    return tuple(positional), named


def _never_ready(_: Execution) -> Any:
    return NOT_READY


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
