"""Options of a task: each is checked when the task is declared."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from qtasks_core.errors import RegistrationError
from qtasks_core.task_options import AllTaskOptions, checked_options


def _function(_: Any) -> float:
    return 0.0


def test_what_is_left_out_has_its_default() -> None:
    """Every option is there."""
    found = checked_options("task 't'", {})

    assert set(get_type_hints(AllTaskOptions)) == set(found)
    assert (0, 0, "late", False, None) == tuple(found[name] for name in ("priority", "retry", "ack", "echo", "timeout"))


def test_what_is_given_is_kept() -> None:
    """Lists become tuples, whole numbers seconds."""
    given: dict[str, Any] = {
        "name": "n",
        "queue": "q",
        "priority": -128,
        "retry": 3,
        "retry_on_exc": [OSError, KeyError],
        "retry_backoff": _function,
        "retry_max_delay": 10,
        "retry_jitter": False,
        "timeout": 5,
        "dead_letter": False,
        "ack": "early",
        "result_ttl": 0,
        "unique_ttl": 1.5,
        "decode": _function,
        "generate_handler": _function,
        "tags": ["a", "b"],
        "description": "words",
        "extra": {"mine": 1},
        "echo": True,
    }
    found = checked_options("task 't'", given)

    expected = {
        **given,
        "retry_on_exc": (OSError, KeyError),
        "tags": ("a", "b"),
    }
    assert expected == {name: found[name] for name in given}  # type: ignore[literal-required]  # names of it


def test_max_time_is_the_same_as_timeout() -> None:
    """One of them may be said."""
    assert 7 == checked_options("task 't'", {"max_time": 7})["timeout"]
    with pytest.raises(RegistrationError, match="task 't': timeout and max_time are one option: expected one of them"):
        checked_options("task 't'", {"max_time": 7, "timeout": 7})


def test_one_class_is_a_list_of_it() -> None:
    """retry_on_exc=ValueError says what is meant."""
    assert (ValueError,) == checked_options("task 't'", {"retry_on_exc": ValueError})["retry_on_exc"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": ""}, "name: expected a text that is not empty, got ''"),
        ({"queue": 3}, "queue: expected the name of a queue, got 3"),
        ({"priority": 128}, "priority: expected a whole number from -128 to 127, got 128"),
        ({"priority": 1.5}, "priority: expected a whole number from -128 to 127, got 1.5"),
        ({"retry": -1}, "retry: expected a whole number, 0 or more, got -1"),
        ({"retry": True}, "retry: expected a whole number, 0 or more, got True"),
        ({"retry_on_exc": ["ValueError"]}, "retry_on_exc: expected a list of exception classes, got ['ValueError']"),
        ({"retry_on_exc": [int]}, "retry_on_exc: expected a list of exception classes"),
        ({"retry_on_exc": 3}, "retry_on_exc: expected a list of exception classes, got 3"),
        ({"retry_backoff": "linear"}, "retry_backoff: expected seconds, 'exponential', or a function"),
        ({"retry_backoff": -1}, "retry_backoff: expected seconds"),
        ({"retry_backoff": int}, "retry_backoff: expected seconds"),
        ({"retry_max_delay": 0}, "retry_max_delay: expected seconds, more than 0, got 0"),
        ({"retry_jitter": "yes"}, "retry_jitter: expected true or false, got 'yes'"),
        ({"timeout": 0}, "timeout: expected seconds, more than 0, got 0"),
        ({"max_time": "5"}, "max_time: expected seconds, more than 0, got '5'"),
        ({"dead_letter": 1}, "dead_letter: expected true or false, got 1"),
        ({"ack": "never"}, "ack: expected 'late' or 'early', got 'never'"),
        ({"result_ttl": -1}, "result_ttl: expected seconds, 0 or more, got -1"),
        ({"unique_ttl": 0}, "unique_ttl: expected seconds, more than 0, got 0"),
        ({"decode": "json"}, "decode: expected a function of the result, got 'json'"),
        ({"generate_handler": 1}, "generate_handler: expected a function of the yielded value, got 1"),
        ({"middlewares_before": 5}, "middlewares_before: expected"),
        ({"tags": "urgent"}, "tags: expected a list of texts, got 'urgent'"),
        ({"tags": [1]}, "tags: expected a list of texts, got [1]"),
        ({"description": 1}, "description: expected a text, got 1"),
        ({"extra": 3}, "extra: expected a mapping, got 3"),
        ({"echo": 1}, "echo: expected true or false, got 1"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(options: dict[str, Any], expected: str) -> None:
    """With the task, the option, what was expected and what was given."""
    with pytest.raises(RegistrationError) as caught:
        checked_options("task 't'", options)

    assert str(caught.value).startswith(f"task 't': {expected}")


@pytest.mark.parametrize(("typo", "meant"), [("retires", "retry"), ("time_out", "timeout"), ("prioritiy", "priority")])
def test_a_typo_is_told_from_an_extra(typo: str, meant: str) -> None:
    """A name that is almost that of an option is refused, unless it is said to be an extra."""
    with pytest.raises(RegistrationError, match=f"task 't': {typo}: did you mean {meant}"):
        checked_options("task 't'", {typo: 1})

    assert {typo: 1} == checked_options("task 't'", {"extra": {typo: 1}})["extra"]


def test_any_other_keyword_is_an_extra() -> None:
    """For plugins; beside those that are given as extra."""
    assert {"a": 1, "cost_center": 7} == checked_options("task 't'", {"extra": {"a": 1}, "cost_center": 7})["extra"]
