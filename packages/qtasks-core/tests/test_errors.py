"""The errors: their tree as it is drawn, and what each carries."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any
from uuid import UUID

import pytest

from qtasks_core import errors
from qtasks_core.errors import (
    AddManyError,
    AlreadyExists,
    Postpone,
    QTasksError,
    Retry,
    SendRefusedError,
    SendUnknownError,
    TaskDeadError,
    TaskFailedError,
    TaskPluginTriggerError,
)

ID = UUID("0190a2b3-0000-7000-8000-000000000001")
LINE = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>\w+)(?: \((?P<also>\w+)\))?(?:  +(?P<text>\S.*))?$")


def _drawn() -> dict[str, tuple[str | None, str | None, str | None]]:
    """Return name → (parent, foreign base, words) from the module's docstring."""
    found: dict[str, tuple[str | None, str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if match := LINE.match(line):
            depth = len(match["indent"]) // 4
            path[depth:] = [match["name"]]
            found[match["name"]] = (path[depth - 1] if depth else None, match["also"], match["text"])
    return found


def _classes() -> dict[str, type[Exception]]:
    return {
        name: one
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, Exception) and one.__module__ == errors.__name__
    }


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """Each class under its parent, with the built-in class that it is too; nothing is missing, nothing is too much."""
    classes = _classes()
    real = {}
    for name, one in classes.items():
        own = [base for base in one.__bases__ if base.__name__ in classes]
        foreign = [base for base in one.__bases__ if base.__name__ not in classes and base is not Exception]
        real[name] = (own[0].__name__ if own else None, foreign[0].__name__ if foreign else None)

    assert real == {name: (parent, also) for name, (parent, also, _) in _drawn().items()}


def test_each_error_is_told_in_the_tree_and_at_its_class() -> None:
    """A line of words for every class but the root; a docstring of one sentence first."""
    assert {"QTasksError"} == {name for name, (_, _, text) in _drawn().items() if not text}
    for one in _classes().values():
        assert (one.__doc__ or "").strip().split("\n")[0].endswith(".")


def test_every_error_is_public() -> None:
    """`qtasks.exceptions` re-exports this one list."""
    assert errors.__all__ == sorted(_classes())


def test_one_except_catches_all() -> None:
    """Every error has the one root, also the group of add_many."""
    assert all(issubclass(one, QTasksError) for one in _classes().values())


def _examples() -> list[Exception]:
    special: dict[type[Exception], Exception] = {
        AddManyError: AddManyError("1 of 2 tasks were not accepted", [SendRefusedError("full")], ["task", None]),
        AlreadyExists: AlreadyExists(ID),
        Retry: Retry(2.5),
        Postpone: Postpone(2.5),
        TaskPluginTriggerError: TaskPluginTriggerError(kind="x"),
        SendUnknownError: SendUnknownError("cut", ID),
        TaskFailedError: TaskFailedError("task add failed", ID, "builtins.ValueError", "Traceback ..."),
        TaskDeadError: TaskDeadError("task add is dead", ID),
    }
    return [special.get(one) or one("words") for one in _classes().values()]


@pytest.mark.parametrize("error", _examples(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])  # noqa: S301
def test_errors_survive_a_copy(error: Exception, way: Any) -> None:
    """Process pools and test runners send exceptions between processes: words and fields stay."""
    other = way(error)

    assert type(error) is type(other)
    assert str(error) == str(other)
    assert getattr(error, "uuid", None) == getattr(other, "uuid", None)
    assert {key: str(value) for key, value in vars(error).items()} == {
        key: str(value) for key, value in vars(other).items()
    }


def test_a_group_of_add_many_keeps_the_accepted_tasks() -> None:
    """Also its parts, as `except*` makes them."""
    group = AddManyError(
        "2 of 3 tasks were not accepted", [SendRefusedError("a"), ValueError("b")], ["task", None, None]
    )
    part = group.subgroup(SendRefusedError)

    assert ["task", None, None] == group.tasks
    assert isinstance(part, AddManyError)
    assert group.tasks == part.tasks
    assert "2 of 3 tasks were not accepted (2 sub-exceptions)" == str(group)


def test_a_failed_task_shows_the_remote_traceback() -> None:
    """As a note below the local one; an error without a traceback has none."""
    error = TaskFailedError("task add failed: builtins.ValueError: no", ID, "builtins.ValueError", "Traceback ...\n")

    assert "task add failed: builtins.ValueError: no" == str(error)
    assert ["remote traceback:\nTraceback ..."] == error.__notes__
    assert not hasattr(TaskFailedError("task add failed"), "__notes__")


def test_signals_say_what_they_ask_for() -> None:
    """Their words are what a log shows when nobody answers them."""
    assert "retry" == str(Retry())
    assert "retry in 2.5 s" == str(Retry(2.5))
    assert "postpone by 0.0 s" == str(Postpone())
    assert f"task {ID} is there already" == str(AlreadyExists(ID))
    assert {"kind": "x"} == TaskPluginTriggerError(kind="x").kwargs
