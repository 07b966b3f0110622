"""Which parameters get the task's context: by `echo`, by annotations, also by those that are kept as texts."""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core import task_context
from qtasks_core.errors import RegistrationError
from qtasks_core.provided import Place, context_places
from qtasks_core.task_context import AsyncTaskContext as AwaitableContext
from qtasks_core.task_context import BlockingTaskContext as Context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtasks_core.task_context import TaskContext

other = types.SimpleNamespace(TaskContext=int)


def plain(x: int, y: int) -> None: ...


def last(x: int, ctx: Context) -> None: ...


def both(first: Context, x: int, *, second: Context) -> None: ...


def dotted(x: int, ctx: task_context.TaskContext) -> None: ...


def for_checkers_only(x: int, ctx: TaskContext) -> None: ...


def of_others(x: int, ctx: other.TaskContext) -> None: ...  # type: ignore[name-defined]


def unknown(x: int, ctx: nowhere.Thing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def awaitable(ctx: AwaitableContext, x: int) -> None: ...


class Callable:
    def __call__(self, x: int, ctx: Context) -> None: ...


@functools.wraps(last)
def wrapped(*args: Any) -> None: ...


PLACES: list[tuple[Any, list[tuple[str, int | None]]]] = [
    (plain, []),
    (last, [("ctx", 1)]),
    (both, [("first", 0), ("second", None)]),
    (dotted, [("ctx", 1)]),
    (for_checkers_only, [("ctx", 1)]),
    (of_others, []),
    (unknown, []),
    (awaitable, [("ctx", 0)]),
    (Callable(), [("ctx", 1)]),
    (Callable().__call__, [("ctx", 1)]),
    (functools.partial(last, 1), [("ctx", 0)]),
    (wrapped, [("ctx", 1)]),
]


def _where(places: Iterable[Place]) -> list[tuple[str, int | None]]:
    return [(place.name, place.position) for place in places]


@pytest.mark.parametrize(("function", "places"), PLACES)
def test_a_parameter_annotated_as_the_context_gets_it(function: Any, places: list[Any]) -> None:
    """Under whatever name the function's module knows the class; where it knows none, by the class's own name."""
    is_async = inspect.iscoroutinefunction(function)

    assert places == _where(context_places(function, "task", echo=False, is_async=is_async))


def test_with_echo_the_first_parameter_gets_it() -> None:
    """Whatever its annotation, beside others that are annotated so."""
    assert [("x", 0)] == _where(context_places(plain, "task", echo=True, is_async=False))
    assert [("x", 0), ("ctx", 1)] == _where(context_places(last, "task", echo=True, is_async=False))


@pytest.mark.parametrize(
    ("function", "is_async", "message"),
    [
        (
            last,
            True,
            "task 'task': parameter 'ctx': expected the context of an async def, qtasks.asyncio.TaskContext, got",
        ),
        (
            awaitable,
            False,
            "task 'task': parameter 'ctx': expected the context of a def, qtasks.TaskContext, got Async",
        ),
    ],
)
def test_the_context_of_the_other_kind_of_function_is_refused(function: Any, is_async: bool, message: str) -> None:
    """What waits would not wait, or block the loop; also where the annotation is a text."""
    with pytest.raises(RegistrationError) as caught:
        context_places(function, "task", echo=False, is_async=is_async)

    assert str(caught.value).startswith(message)


def test_echo_wants_a_first_parameter() -> None:
    """The error says so when the task is declared."""

    def keyword(*, x: int) -> None: ...

    for function in (lambda: None, keyword):
        with pytest.raises(RegistrationError, match="echo: expected a first parameter for the context, there is none"):
            context_places(function, "task", echo=True, is_async=False)
