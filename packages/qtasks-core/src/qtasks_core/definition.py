"""What `@app.task` makes of a function: a definition, and the registry of an app's definitions."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from qtasks_core.errors import RegistrationError
from qtasks_core.signatures import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Kind", "TaskDefinition", "TaskRegistry"]

Kind = Literal["async", "thread"]


class TaskDefinition:
    """A function that can be queued, with its options. It runs on the loop when it is async, in a thread otherwise.

    Parameters:
        function: What runs.
        name: Its name in the queue; the function's own by default.
        queue: Where its calls go; None is the app's first queue.
        priority: Of its calls, -128 to 127, lower first.
        result_ttl: Seconds that results are kept; None is the app's setting, 0 keeps none.

    Raises:
        RegistrationError: It is no function, or an option is wrong.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        result_ttl: float | None = None,
    ) -> None:
        self.name = _name_of(function, name)
        self.function = function
        self.kind: Kind = "async" if _is_async(function) else "thread"
        self.queue = _expect_text(self.name, "queue", queue)
        self.priority = _expect_priority(self.name, priority)
        self.result_ttl = _expect_seconds(self.name, "result_ttl", result_ttl)
        self.signature = _signature_of(function, self.name)

    @property
    def place(self) -> str:
        """Where the function stands: file and line, for messages."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)

    @cached_property
    def returns(self) -> Any:
        """The annotated type of the result, `Any` when there is none."""
        return self.signature.returns()


class TaskRegistry:
    """The tasks of one app, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskDefinition] = {}

    def add(self, definition: TaskDefinition) -> None:
        """Keep a definition.

        Raises:
            RegistrationError: Its name is taken; shows both places.
        """
        taken = self._tasks.get(definition.name)
        if taken is not None and taken.place != definition.place:
            raise RegistrationError(
                f"task {definition.name!r} is declared twice: at {taken.place} and at {definition.place}; "
                "give one of them another name: @app.task(name=…)"
            )
        self._tasks[definition.name] = definition

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


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _signature_of(function: Callable[..., Any], name: str) -> Signature:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistrationError(f"task {name!r}: expected a function or a coroutine function, got a generator function")
    try:
        return Signature(function, name)
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"task {name!r}: {function!r} has no signature to check calls by: {error}") from None


def _expect_text(task: str, option: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise RegistrationError(f"task {task!r}: {option}: expected a text that is not empty, got {value!r}")
    return value


def _expect_priority(task: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -128 <= value <= 127:  # noqa: PLR2004  # a signed byte
        raise RegistrationError(f"task {task!r}: priority: expected a whole number from -128 to 127, got {value!r}")
    return value


def _expect_seconds(task: str, option: str, value: object) -> float | None:
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0):
        raise RegistrationError(f"task {task!r}: {option}: expected seconds, 0 or more, got {value!r}")
    return value
