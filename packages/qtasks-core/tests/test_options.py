"""Options of a call: kept as what they are, refused in words that name option, expectation and value."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest

from qtasks_core.errors import ConfigError
from qtasks_core.options import Draft, checked_call

ID = UUID("0190a2b3-0000-7000-8000-000000000001")
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def test_what_is_none_is_not_set() -> None:
    """None leaves the task's or the app's default."""
    assert {} == checked_call({"priority": None, "queue": None})


def test_every_option_is_kept() -> None:
    """As given; whole seconds are floats."""
    given: dict[str, Any] = {
        "priority": -128,
        "queue": "slow",
        "delay": 3,
        "expires": 10.5,
        "uuid": ID,
        "headers": {"tenant": "a"},
        "results": False,
        "result_ttl": 0,
        "timeout": 5,
        "retry": 2,
        "unique_key": "a",
        "unique_ttl": 60,
        "key": "b",
    }
    options = checked_call(given)  # type: ignore[arg-type]  # its keys are options

    assert given == options
    assert "3.0" == repr(options["delay"])
    assert {"eta": NOON} == checked_call({"eta": NOON})
    assert {"expires": NOON} == checked_call({"expires": NOON})


def test_texts_become_what_they_stand_for() -> None:
    """A uuid or a time that comes from JSON or a form is as good as the object."""
    options = checked_call({"uuid": str(ID), "eta": NOON.isoformat()})  # type: ignore[typeddict-item]

    assert {"uuid": ID, "eta": NOON} == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 128}, "option priority: expected `int` <= 127; got 128"),
        ({"priority": -129}, "option priority: expected `int` >= -128; got -129"),
        ({"priority": True}, "option priority: expected `int | null`, got `bool`; got True"),
        ({"queue": ""}, "option queue: expected `str` of length >= 1; got ''"),
        ({"queue": 1}, "option queue: expected `str | null`, got `int`; got 1"),
        ({"delay": -0.1}, "option delay: expected `float` >= 0.0; got -0.1"),
        ({"delay": NOON}, f"option delay: expected `float | null`, got `datetime`; got {NOON!r}"),
        ({"delay": float("nan")}, "option delay: expected `float` >= 0.0; got nan"),
        ({"eta": 5}, "option eta: expected a datetime; got 5"),
        ({"eta": "tomorrow"}, "option eta: expected a datetime; got 'tomorrow'"),
        ({"expires": 0}, "option expires: expected seconds above 0, or a datetime; got 0"),
        ({"expires": "soon"}, "option expires: expected seconds above 0, or a datetime; got 'soon'"),
        ({"uuid": "7"}, "option uuid: expected a UUID; got '7'"),
        ({"headers": {"a": 1}}, "option headers: expected a mapping of texts to texts; got {'a': 1}"),
        ({"headers": ["a"]}, "option headers: expected a mapping of texts to texts; got ['a']"),
        ({"results": "no"}, "option results: expected true or false; got 'no'"),
        ({"result_ttl": -1}, "option result_ttl: expected `float` >= 0.0; got -1"),
        ({"timeout": 0}, "option timeout: expected `float` > 0.0; got 0"),
        ({"retry": -1}, "option retry: expected `int` >= 0; got -1"),
        ({"unique_ttl": 1}, "option unique_ttl: expected unique_key beside it"),
        ({"prioritty": 1}, "option prioritty: there is no such option; did you mean priority?"),
        ({"delay": 1, "eta": NOON}, "options delay and eta: expected one of them, got both"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    """Before anything is sent: nobody finds out later, in a worker."""
    with pytest.raises(ConfigError) as caught:
        checked_call(options)  # type: ignore[arg-type]  # wrong on purpose

    assert message == str(caught.value)


def test_drafts_do_not_share_their_defaults() -> None:
    """A trigger that adds a header to one task adds it to no other."""
    first, second = (Draft(task_name="a", args=(), kwargs={}, uuid=ID, queue="q") for _ in range(2))
    first.headers["x"] = "1"

    assert {} == second.headers
