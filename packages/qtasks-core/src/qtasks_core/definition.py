"""What `@app.task` makes of a function: a definition, and the registry of an app's definitions."""

from __future__ import annotations

import copy
import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from qtasks_core.errors import RegistrationError
from qtasks_core.middlewares import checked_middlewares
from qtasks_core.provided import Place, context_places, injected_places, put_between
from qtasks_core.signatures import Signature
from qtasks_core.task_context import current_context
from qtasks_core.task_options import AllTaskOptions, checked_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from qtasks_core.middlewares import TaskMiddleware
    from qtasks_core.provided import Injector

__all__ = ["Kind", "TaskDefinition", "TaskRegistry"]

Kind = Literal["async", "thread", "generator", "async generator"]


class TaskDefinition:
    """A function that can be queued, with its options, each an attribute of its own.

    Parameters:
        function: What runs: on the loop when it is async, in a thread otherwise.
        options: See `TaskOptions`; any other keyword is kept in `extra`, for plugins.

    Raises:
        RegistrationError: It is no function, or an option is wrong.
    """

    def __init__(self, function: Callable[..., Any], **options: Unpack[AllTaskOptions]) -> None:
        self.name = _name_of(function, options.get("name"))
        self.options = checked_options(f"task {self.name!r}", options)
        self.function = function
        self.kind: Kind = _kind_of(function)
        self.queue = self.options["queue"]
        self.priority = self.options["priority"]
        self.result_ttl = self.options["result_ttl"]
        self.extra = self.options["extra"]
        self.middlewares = cast("tuple[TaskMiddleware, ...]", self.options["middlewares"])
        self.provided = _places_of(
            function, self.name, echo=self.options["echo"], is_async=self.kind.startswith("async")
        )
        self._sign()

    def renamed(self, name: str) -> TaskDefinition:
        """Return the same task under another name."""
        other = copy.copy(self)
        other.name = name
        other.options = {**self.options, "name": name}
        other._sign()  # noqa: SLF001  # of the same class
        return other

    def providing(self, **injectors: Injector) -> TaskDefinition:
        """Return the same task with parameters that no caller passes: the injectors provide them for each run.

        Parameters:
            injectors: By name of the parameter.

        Raises:
            PluginError: There is no such parameter, it is provided already, or what was given is no injector.
        """
        other = copy.copy(self)
        other.provided = injected_places(self.function, self.name, injectors, self.provided)
        other._sign()  # noqa: SLF001  # of the same class
        return other

    def with_middlewares(self, *middlewares: TaskMiddleware) -> TaskDefinition:
        """Return the same task with further middlewares, inside of those it has.

        Parameters:
            middlewares: The outermost first.

        Raises:
            ConfigError: One is none, or overrides no step.
        """
        other = copy.copy(self)
        other.middlewares = (*self.middlewares, *checked_middlewares(middlewares))
        return other

    @property
    def is_injected(self) -> bool:
        """Whether plugins provide some of its parameters."""
        return any(place.pending is not None for place in self.provided)

    @property
    def description(self) -> str:
        """For operators: the option, else the first line of the docstring."""
        return self.options["description"] or (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def place(self) -> str:
        """Where the function stands: file and line, for messages."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)

    @cached_property
    def returns(self) -> Any:
        """The annotated type of the result, `Any` when there is none or a handler changes what is yielded."""
        return Any if self.options["generate_handler"] or self.options["decode"] else self.signature.returns()

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the plain function; the context of the task that runs now is passed on where it wants one.

        What plugins provide is given by name here: who calls the function itself is no worker.

        Raises:
            RuntimeError: It wants a context, and no task runs here.
            TypeError: A parameter that a plugin provides was not given.
        """
        if self.provided:
            values = {place.name: self._value_here(place, kwargs) for place in self.provided}
            others = {name: value for name, value in kwargs.items() if name not in values}
            args, kwargs = put_between(self.provided, values, args, others)
        return self.function(*args, **kwargs)

    def _sign(self) -> None:
        """Make the signature that callers see."""
        self.signature = Signature(self.function, self.name, [place.name for place in self.provided])

    def _value_here(self, place: Place, given: Mapping[str, Any]) -> Any:
        if place.name in given:
            return given[place.name]
        if place.pending is None:
            return current_context()
        raise TypeError(
            f"task {self.name!r}: {place.name!r} is provided when a worker runs the task; to call the function itself "
            f"pass {place.name}=…"
        )


class TaskRegistry:
    """The tasks of one app, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskDefinition] = {}

    def add(self, definition: TaskDefinition) -> None:
        """Keep a definition.

        Raises:
            RegistrationError: Its name is taken; shows both places.
        """
        self.check(definition)
        self._tasks[definition.name] = definition

    def check(self, definition: TaskDefinition) -> None:
        """Raise what `add` would raise."""
        taken = self._tasks.get(definition.name)
        if taken is not None and taken.place != definition.place:
            raise RegistrationError(
                f"task {definition.name!r} is declared twice: at {taken.place} and at {definition.place}; "
                "give one of them another name: @app.task(name=…)"
            )

    def get(self, name: str) -> TaskDefinition | None:
        """Return the definition of that name, or None."""
        return self._tasks.get(name)

    def as_mapping(self) -> Mapping[str, TaskDefinition]:
        """Return a copy by name."""
        return dict(self._tasks)

    def __iter__(self) -> Iterator[TaskDefinition]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)


def _name_of(function: object, name: str | None) -> str:
    if not callable(function):
        raise RegistrationError(f"a task is made of a function, got {function!r}")
    found = name if name is not None else getattr(function, "__name__", "")
    if not isinstance(found, str) or not found or found == "<lambda>":
        raise RegistrationError(f"{function!r} needs a name: @app.task(name=…) with a text that is not empty")
    return found


def _kind_of(function: Callable[..., Any]) -> Kind:
    """Return what the function is, or its `__call__` when it is an object."""
    found = (function, getattr(function, "__call__", None))  # noqa: B004  # it is looked at, not called
    if any(map(inspect.iscoroutinefunction, found)):
        return "async"
    if any(map(inspect.isasyncgenfunction, found)):
        return "async generator"
    return "generator" if any(map(inspect.isgeneratorfunction, found)) else "thread"


def _places_of(function: Callable[..., Any], name: str, *, echo: bool, is_async: bool) -> tuple[Place, ...]:
    try:
        return context_places(function, name, echo=echo, is_async=is_async)
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"task {name!r}: {function!r} has no signature to check calls by: {error}") from None
