"""Middlewares: code around the adding, the run and the result of tasks, of one task or of all tasks of an app."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Execution
from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from qtasks_core.options import Draft
    from qtasks_core.task import TaskSnapshot

__all__ = ["AfterFunction", "BeforeFunction", "TaskMiddleware", "checked_middlewares", "checked_steps", "overrides"]

BeforeFunction = Callable[[Execution], Any]
"""Gets a run before its function is called; may be a coroutine function."""
AfterFunction = Callable[[Execution, Any], Any]
"""Gets a run and its result, and returns another one, or None to leave it; may be a coroutine function."""


class TaskMiddleware:
    """Code around tasks: override the steps that you need, each as a `def` or as an `async def`.

    A `def` runs on the event loop, so it must not block. One object serves many runs at the same time: what belongs
    to one has its place in `execution.state`. The app's middlewares are outside those of a task, and in each list the
    first is the outermost. One that raises fails its task; `add` and `result` fail their call.

    Where a step replaces a value, None leaves it as it is, and `Replace(x)` sets any x, also None. A result still has
    to fit the annotation of its function, for that is what `result()` promises.
    """

    def add(self, draft: Draft) -> Draft | Awaitable[Draft | None] | None:
        """Change a task about to be sent, in the process that adds it; return it, or another draft of its uuid.

        Parameters:
            draft: Its values, not yet encoded, and its options.
        """

    def before(self, execution: Execution) -> Awaitable[None] | None:
        """Do what comes before the function; `execution.args` and `.kwargs` may be changed.

        Parameters:
            execution: The run; its arguments are converted.
        """

    def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
        """Do what goes around the function; return the result: that of `await call()`, or another one.

        Parameters:
            execution: The run.
            call: Runs what is inside: further middlewares, then the function.
        """
        del execution
        return call()

    def after(self, execution: Execution, result: Any) -> Any:
        """Do what comes after the function returned; return another result, or None to leave it.

        Parameters:
            execution: The run.
            result: What came from inside.
        """

    def failed(self, execution: Execution, error: BaseException) -> Awaitable[None] | None:
        """Do what comes after a run that `before` has seen ended with an error, a timeout or a cancel; it goes on.

        Parameters:
            execution: The run.
            error: What came from inside; a timeout and a cancel are an `asyncio.CancelledError`.
        """

    def result(self, task: TaskSnapshot[Any], value: Any) -> Any:
        """Change the value that `task.result()` is about to return, in the process that asks.

        Parameters:
            task: The task; it has succeeded.
            value: Its result.

        Returns:
            Another value, or None to leave it.
        """


STEPS = {
    "add": ("draft",),
    "before": ("execution",),
    "around": ("execution", "call"),
    "after": ("execution", "result"),
    "failed": ("execution", "error"),
    "result": ("task", "value"),
}
"""Each step, and what it gets."""


def overrides(middleware: TaskMiddleware, step: str) -> bool:
    """Whether a middleware has its own form of a step."""
    return getattr(getattr(middleware, step), "__func__", None) is not getattr(TaskMiddleware, step)


def checked_middlewares(values: Iterable[Any]) -> tuple[TaskMiddleware, ...]:
    """Return middlewares; of a class, an object of it.

    Raises:
        ConfigError: One is none, or overrides no step; says what was expected.
    """
    if isinstance(values, (TaskMiddleware, type)):
        raise ConfigError(f"expected a list of middlewares, got {values!r}")
    return tuple(_checked(value) for value in values)


def checked_steps(values: Iterable[Any], step: str) -> tuple[Any, ...]:
    """Return functions, and middlewares of which one step is wanted.

    Parameters:
        values: The functions and middlewares.
        step: "before" or "after".

    Raises:
        ConfigError: One is neither, or cannot be called as the step; says what was expected.
    """
    if isinstance(values, (TaskMiddleware, type)) or callable(values):
        raise ConfigError(f"expected a list of functions or middlewares, got {values!r}")
    return tuple(_checked_step(value, step) for value in values)


def _checked(value: Any) -> TaskMiddleware:
    if isinstance(value, type) and issubclass(value, TaskMiddleware):
        value = _made(value)
    if not isinstance(value, TaskMiddleware):
        hint = "; functions go into middlewares_before and middlewares_after" if callable(value) else ""
        raise ConfigError(f"expected a TaskMiddleware or its class, got {value!r}{hint}")
    found = [step for step in STEPS if overrides(value, step)]
    if not found:
        raise ConfigError(f"{value!r} does nothing: expected a middleware with one of {', '.join(STEPS)}")
    for step in found:
        _check_call(f"{type(value).__qualname__}.{step}", getattr(value, step), step)
    return value


def _checked_step(value: Any, step: str) -> Any:
    if isinstance(value, TaskMiddleware) or (isinstance(value, type) and issubclass(value, TaskMiddleware)):
        middleware = _checked(value)
        if not overrides(middleware, step):
            raise ConfigError(f"{middleware!r} has no step {step!r}, and no other is called here: use middlewares=")
        return middleware
    if not callable(value):
        raise ConfigError(f"expected a function or a TaskMiddleware, got {value!r}")
    _check_call(getattr(value, "__qualname__", repr(value)), value, step)
    return value


def _made(kind: type[TaskMiddleware]) -> TaskMiddleware:
    try:
        return kind()
    except TypeError as error:
        raise ConfigError(f"{kind.__qualname__} cannot be made without arguments, pass an object: {error}") from None


def _check_call(name: str, function: Any, step: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name}: expected a function or a coroutine function, got a generator function")
    given = STEPS[step]
    try:
        inspect.signature(function).bind(*given)
    except TypeError as error:
        raise ConfigError(f"{name} cannot be called with ({', '.join(given)}): {error}") from None
    except ValueError:  # it is written in C, and does not tell what it takes
        return
