"""What `@app.task` makes of a function, and the registry: what is refused, and in which words."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from qtasks_core.definition import TaskDefinition, TaskRegistry
from qtasks_core.errors import RegistrationError


def plain(a: int, b: str = "") -> str:
    return f"{a}{b}"


async def awaited(a: int) -> int:
    return a


class Callable:
    def __call__(self, a: int) -> int:
        return a


class Awaited:
    async def __call__(self, a: int) -> int:
        return a


class Methods:
    def method(self, a: int) -> int:
        return a

    async def awaited(self, a: int) -> int:
        return a


def test_a_function_with_no_options() -> None:
    """It has its own name, and the app's defaults for the rest."""
    definition = TaskDefinition(plain)

    assert ("plain", plain, "thread") == (definition.name, definition.function, definition.kind)
    assert (None, 0, None) == (definition.queue, definition.priority, definition.result_ttl)
    assert str is definition.returns


def test_options_are_kept() -> None:
    """As they were given."""
    definition = TaskDefinition(awaited, name="a.b", queue="slow", priority=-128, result_ttl=0)

    assert ("a.b", "slow", -128, 0) == (definition.name, definition.queue, definition.priority, definition.result_ttl)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, "thread"),
        (awaited, "async"),
        (functools.partial(awaited), "async"),
        (functools.partial(plain, b="x"), "thread"),
        (Callable(), "thread"),
        (Awaited(), "async"),
        (Methods().method, "thread"),
        (Methods().awaited, "async"),
        (len, "thread"),
    ],
)
def test_what_runs_where(function: Any, kind: str) -> None:
    """On the loop what is to be awaited, in a thread what is not: functions, partials, methods, callable objects."""
    assert kind == TaskDefinition(function, name="a").kind


def test_the_place_of_a_function_is_its_file_and_line() -> None:
    """Also behind a decorator; what has no code shows itself."""

    @functools.wraps(plain)
    def wrapper(*args: Any) -> Any:
        return plain(*args)

    line = plain.__code__.co_firstlineno

    assert f"{__file__}:{line}" == TaskDefinition(plain).place
    assert f"{__file__}:{line}" == TaskDefinition(wrapper).place
    assert "<built-in function len>" == TaskDefinition(len).place


def _generator() -> Any:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (7, {}, "a task is made of a function, got 7"),
        (plain, {"name": ""}, "needs a name: @app.task(name=…) with a text that is not empty"),
        (plain, {"name": 7}, "needs a name: @app.task(name=…) with a text that is not empty"),
        (lambda: None, {}, "needs a name: @app.task(name=…) with a text that is not empty"),
        (functools.partial(plain), {}, "needs a name: @app.task(name=…) with a text that is not empty"),
        (plain, {"queue": ""}, "task 'plain': queue: expected the name of a queue, got ''"),
        (plain, {"queue": 1}, "task 'plain': queue: expected the name of a queue, got 1"),
        (plain, {"priority": 128}, "task 'plain': priority: expected a whole number from -128 to 127, got 128"),
        (plain, {"priority": True}, "task 'plain': priority: expected a whole number from -128 to 127, got True"),
        (plain, {"priority": "high"}, "task 'plain': priority: expected a whole number from -128 to 127, got 'high'"),
        (plain, {"result_ttl": -1}, "task 'plain': result_ttl: expected seconds, 0 or more, got -1"),
        (plain, {"result_ttl": "1d"}, "task 'plain': result_ttl: expected seconds, 0 or more, got '1d'"),
        (plain, {"result_ttl": float("nan")}, "task 'plain': result_ttl: expected seconds, 0 or more, got nan"),
        (plain, {"retry": -1}, "task 'plain': retry: expected a whole number, 0 or more, got -1"),
        (plain, {"retry_on_exc": [int]}, "task 'plain': retry_on_exc: expected a list of exception classes"),
        (plain, {"retry_backoff": "linear"}, "task 'plain': retry_backoff: expected seconds, 'exponential', or a"),
        (plain, {"timeout": 0}, "task 'plain': timeout: expected seconds, more than 0, got 0"),
        (plain, {"timeout": 1, "max_time": 1}, "task 'plain': timeout and max_time are one option"),
        (plain, {"ack": "never"}, "task 'plain': ack: expected 'late' or 'early', got 'never'"),
        (plain, {"echo": 1}, "task 'plain': echo: expected true or false, got 1"),
        (plain, {"retries": 3}, "task 'plain': retries: did you mean retry?"),
        (type, {"name": "type"}, "task 'type': <class 'type'> has no signature to check calls by: "),
    ],
)
def test_what_cannot_be_a_task_is_refused(function: Any, options: dict[str, Any], message: str) -> None:
    """When it is declared, with task, option, expectation and value."""
    with pytest.raises(RegistrationError) as caught:
        TaskDefinition(function, **options)

    assert message in str(caught.value)


# ---------------------------------------------------------------- the registry


def _first() -> Any:
    def job() -> None: ...

    return job


def _second() -> Any:
    def job() -> None: ...

    return job


def test_a_registry_finds_by_name() -> None:
    """And lists what it has, in the order of registration."""
    registry = TaskRegistry()
    one, two = TaskDefinition(plain), TaskDefinition(awaited)
    registry.add(one)
    registry.add(two)

    assert (one, two, None) == (registry.get("plain"), registry.get("awaited"), registry.get("other"))
    assert [one, two] == list(registry)
    assert 2 == len(registry)


def test_a_mapping_of_the_registry_is_a_copy() -> None:
    """Who changes it changes nothing."""
    registry = TaskRegistry()
    registry.add(TaskDefinition(plain))
    mapping: Any = registry.as_mapping()
    mapping.clear()

    assert 1 == len(registry)


def test_a_name_is_taken_once() -> None:
    """The error shows both places, and the way out."""
    registry = TaskRegistry()
    first, second = TaskDefinition(_first()), TaskDefinition(_second())
    registry.add(first)
    with pytest.raises(RegistrationError) as caught:
        registry.add(second)

    assert (
        f"task 'job' is declared twice: at {first.place} and at {second.place}; "
        "give one of them another name: @app.task(name=…)"
    ) == str(caught.value)
    assert registry.get("job") is first


def test_the_same_function_may_be_declared_again() -> None:
    """A module that is imported twice, or reloaded, replaces its tasks."""
    registry = TaskRegistry()
    again = TaskDefinition(_first())
    registry.add(TaskDefinition(_first()))
    registry.add(again)

    assert [again] == list(registry)


def test_tasks_may_be_declared_while_others_are_listed() -> None:
    """Modules are imported by any thread; a worker that starts sees a whole registry."""
    registry = TaskRegistry()
    stop = threading.Event()
    seen: list[int] = []

    def list_them() -> None:
        while not stop.is_set():
            seen.append(len(registry.as_mapping()))

    reader = threading.Thread(target=list_them)
    reader.start()
    for number in range(2000):
        registry.add(TaskDefinition(plain, name=f"task {number}"))
    stop.set()
    reader.join()

    assert sorted(seen) == seen
    assert 2000 == len(registry)
