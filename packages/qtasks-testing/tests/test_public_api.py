"""What the kit offers to others, written down: a name that comes or goes is seen in a review.

`python packages/qtasks-testing/tests/test_public_api.py` writes the list anew.
"""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from qtasks_testing.kit import Suite

STORED = Path(__file__).parent / "public_api.txt"
PAGE = Path(__file__).parents[3] / "docs" / "testing-a-backend.md"
PUBLIC = (
    "qtasks_testing",
    "qtasks_testing.kit",
    "qtasks_testing.kit.samples",
    "qtasks_testing.servers",
)
"""What tests of others are built upon, beside the fixtures; every other module may change at any time."""
FIXTURES = (
    "async_memory_app",
    "ledger",
    "memory_app",
    "redis_server",
    "redis_url",
    "tcp_proxy",
    "worker_process",
)


def _names() -> list[tuple[str, Any]]:
    return [
        (f"{module}.{name}", getattr(importlib.import_module(module), name))
        for module in PUBLIC
        for name in importlib.import_module(module).__all__
    ]


def _members(value: Any) -> dict[str, Any]:
    """Return the public methods and properties of a class of the kit; what a suite has is for pytest."""
    if not isinstance(value, type) or (issubclass(value, Suite) and value is not Suite):
        return {}
    bases = [base for base in value.__mro__ if base.__module__.startswith("qtasks_testing")]
    found = {name: member for base in reversed(bases) for name, member in vars(base).items()}
    return {name: member for name, member in found.items() if not name.startswith(("_", "test_")) and _is_code(member)}


def _fields(value: Any) -> list[str]:
    """Return the fields of a tuple, and the members of an enumeration."""
    return [*getattr(value, "_fields", ()), *getattr(value, "__members__", ())]


def _is_code(member: Any) -> bool:
    return inspect.isroutine(member) or isinstance(member, property)


def _public_api() -> list[str]:
    listed = []
    for name, value in _names():
        listed += [name, *sorted(f"{name}.{member}" for member in (*_members(value), *_fields(value)))]
    return listed


def test_the_public_api_is_what_is_written_down() -> None:
    """A name more or less is a decision: public_api.txt is changed with it, and the CHANGELOG."""
    assert STORED.read_text(encoding="utf-8").splitlines() == _public_api(), f"python {Path(__file__).name}"


def test_each_public_name_is_explained() -> None:
    """What help() shows of it, and of each of its methods, is not empty."""
    silent = [name for name, value in _names() if callable(value) and not _explained(value)]
    for name, value in _names():
        silent += [f"{name}.{one}" for one, member in _members(value).items() if not member.__doc__]

    assert [] == silent


def _explained(value: Any) -> bool:
    text = inspect.getdoc(value) or ""
    return bool(text) and not text.startswith(f"{getattr(value, '__name__', '')}(")  # which a NamedTuple has by itself


def test_each_public_name_has_its_place_on_the_page() -> None:
    """docs/testing-a-backend.md tells outsiders of all that there is for them."""
    words = set(re.findall(r"\w+", PAGE.read_text(encoding="utf-8")))
    names = [*FIXTURES, *(name.rpartition(".")[2] for name, _ in _names())]

    assert [] == [name for name in names if name not in words]


def test_the_fixtures_are_those_of_the_plugin(tmp_path: Path) -> None:
    """Each is explained by `pytest --fixtures`."""
    command = [sys.executable, "-m", "pytest", "--fixtures", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    found = re.findall(r"^(\w+)(?: \[.*\])? -- .*qtasks_testing.plugin\.py:\d+\n(.*)$", told, re.MULTILINE)

    assert sorted(FIXTURES) == sorted(name for name, _ in found), told
    assert [] == [name for name, text in found if not text.strip() or "no docstring" in text]


if __name__ == "__main__":
    STORED.write_text("\n".join(_public_api()) + "\n", encoding="utf-8")
