"""Options of a task: what `@app.task(…)` takes, and how each is checked when the task is declared."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

import msgspec
from msgspec import Meta

from qtasks_core.errors import ConfigError, RegistrationError
from qtasks_core.middlewares import (
    AfterFunction,
    BeforeFunction,
    TaskMiddleware,
    checked_middlewares,
    checked_steps,
)

__all__ = ["AllTaskOptions", "Backoff", "TaskOptions", "checked_options"]

Backoff = float | Literal["exponential"] | Callable[[int], float]
"""Seconds before a further attempt: always the same, doubling from 1 s, or what a function of the last attempt says."""

Seconds = Annotated[float, Meta(ge=0)]
Limit = Annotated[float, Meta(gt=0)]


class TaskOptions(TypedDict, total=False):
    """Options of a task; what is left out, or None, is the app's default."""

    name: Annotated[str, Meta(min_length=1)] | None
    """Its name in the queue; the function's own by default."""
    queue: Annotated[str, Meta(min_length=1)] | None
    """Where its calls go; the app's first queue by default."""
    priority: Annotated[int, Meta(ge=-128, le=127)]
    """Of its calls, lower first; 0 by default."""
    retry: Annotated[int, Meta(ge=0)]
    """Further attempts after one that failed; 0 by default."""
    retry_on_exc: Sequence[type[BaseException]] | None
    """What is tried again, with subclasses; every Exception by default. `Retry` always is."""
    retry_backoff: Backoff | None
    """Seconds before a further attempt: a number, "exponential" from 1 s, or a function of the attempt that failed."""
    retry_max_delay: Limit | None
    """Longest wait before a further attempt, in seconds."""
    retry_jitter: bool
    """Wait a random part of that time, so that what failed together does not come back together; True by default."""
    timeout: Limit | None
    """Seconds that one run may take."""
    max_time: Limit | None
    """The same as timeout."""
    dead_letter: bool | None
    """Keep its message when its attempts are exhausted."""
    ack: Literal["late", "early"]
    """"late": acknowledged when it has ended, so at least once. "early": before it starts, so at most once."""
    result_ttl: Seconds | None
    """Seconds that results are kept; 0 keeps none."""
    unique_ttl: Limit | None
    """Seconds after which a unique key is free again although its task has not ended."""
    decode: Callable[[Any], Any] | None
    """Turns the result into what is stored."""
    generate_handler: Callable[[Any], Any] | None
    """Gets each value that a generator yields; what it returns is stored and sent back into the generator."""
    executor: Any
    """A TaskExecutor, or its class, that runs this task instead of the app's."""
    middlewares: Sequence[TaskMiddleware | type[TaskMiddleware]]
    """Around its calls and runs, inside those of the app; the first is the outermost."""
    middlewares_before: Sequence[TaskMiddleware | BeforeFunction]
    """Called before the function, in their order, inside all middlewares; of a middleware its step `before`."""
    middlewares_after: Sequence[TaskMiddleware | AfterFunction]
    """Called when the function has returned, in their order, inside all middlewares; of a middleware `after`."""
    tags: Sequence[str]
    """For operators and plugins."""
    description: str | None
    """For operators; the first line of the docstring by default."""
    extra: Mapping[str, Any]
    """For plugins."""


class AllTaskOptions(TaskOptions, total=False):
    """The one more that decides how callers see the function."""

    echo: bool
    """Pass the task's context as the first argument; a parameter annotated `TaskContext` gets it too."""


DEFAULTS: AllTaskOptions = {
    "name": None,
    "queue": None,
    "priority": 0,
    "retry": 0,
    "retry_on_exc": None,
    "retry_backoff": None,
    "retry_max_delay": None,
    "retry_jitter": True,
    "timeout": None,
    "max_time": None,
    "dead_letter": None,
    "ack": "late",
    "result_ttl": None,
    "unique_ttl": None,
    "echo": False,
    "decode": None,
    "generate_handler": None,
    "executor": None,
    "middlewares": (),
    "middlewares_before": (),
    "middlewares_after": (),
    "tags": (),
    "description": None,
    "extra": {},
}
EXPECTED = {
    "name": "a text that is not empty",
    "queue": "the name of a queue",
    "priority": "a whole number from -128 to 127",
    "retry": "a whole number, 0 or more",
    "retry_on_exc": "a list of exception classes",
    "retry_backoff": "seconds, 'exponential', or a function of the attempt that failed",
    "retry_max_delay": "seconds, more than 0",
    "timeout": "seconds, more than 0",
    "max_time": "seconds, more than 0",
    "ack": "'late' or 'early'",
    "result_ttl": "seconds, 0 or more",
    "unique_ttl": "seconds, more than 0",
    "decode": "a function of the result",
    "generate_handler": "a function of the yielded value",
    "middlewares": "a list of middlewares",
    "middlewares_before": "a list of functions or middlewares",
    "middlewares_after": "a list of functions or middlewares",
    "tags": "a list of texts",
    "description": "a text",
    "extra": "a mapping",
}
ALIKE = 0.65


def checked_options(owner: str, options: Mapping[str, Any]) -> AllTaskOptions:
    """Return all options of a task, each as its type says; what is no option is kept in `extra`, for plugins.

    Parameters:
        owner: Whose they are, for messages.
        options: What was given.

    Raises:
        RegistrationError: A value does not fit, or an extra one is named almost like an option.
    """
    known = {name: value for name, value in options.items() if name in DEFAULTS}
    found: dict[str, Any] = {**DEFAULTS, **{name: _checked(owner, name, value) for name, value in known.items()}}
    extra = {name: value for name, value in options.items() if name not in DEFAULTS}
    for name in extra:
        _refuse_typo(owner, name)
    found["extra"] = {**found["extra"], **extra}
    if found["max_time"] is not None:
        if found["timeout"] is not None:
            raise RegistrationError(f"{owner}: timeout and max_time are one option: expected one of them")
        found["timeout"] = found["max_time"]
    return found  # type: ignore[return-value]  # every key is there, with a checked value


def _checked(owner: str, name: str, value: object) -> object:
    check = _CHECKS.get(name)
    try:
        return msgspec.convert(value, _types()[name]) if check is None else check(value)
    except ConfigError as error:  # it says what was expected
        raise RegistrationError(f"{owner}: {name}: {error}") from None
    except (msgspec.ValidationError, TypeError, ValueError):
        raise RegistrationError(
            f"{owner}: {name}: expected {EXPECTED.get(name, 'true or false')}, got {value!r}"
        ) from None


@cache
def _types() -> Mapping[str, Any]:
    return get_type_hints(AllTaskOptions, include_extras=True)


def _refuse_typo(owner: str, name: str) -> None:
    near = difflib.get_close_matches(name, DEFAULTS, 1, ALIKE)
    if near:
        raise RegistrationError(f"{owner}: {name}: did you mean {near[0]}? (as an extra: extra={{{name!r}: …}})")


def _function_or_none(value: Any) -> Any:
    if value is not None and not callable(value):
        raise TypeError
    return value


def _exceptions(value: Any) -> tuple[type[BaseException], ...] | None:
    if value is None:
        return None
    kinds = (value,) if isinstance(value, type) else tuple(value)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise TypeError
    return kinds


def _backoff(value: Any) -> Any:
    if value is None or value == "exponential" or (callable(value) and not isinstance(value, type)):
        return value
    return msgspec.convert(value, Seconds)


def _as_given(value: Any) -> Any:
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "decode": _function_or_none,
    "executor": _as_given,  # looked at when a worker starts, where executors are known
    "extra": dict,
    "generate_handler": _function_or_none,
    "middlewares": checked_middlewares,
    "middlewares_after": partial(checked_steps, step="after"),
    "middlewares_before": partial(checked_steps, step="before"),
    "retry_backoff": _backoff,
    "retry_on_exc": _exceptions,
    "tags": lambda value: tuple(msgspec.convert(value, list[str])),
}
