"""What the core offers to others, written down: a name that comes or goes is seen in a review.

`python packages/qtasks-core/tests/test_public_api.py` writes the list anew.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import qtasks_core

STORED = Path(__file__).parent / "public_api.txt"
PUBLIC = (
    "qtasks_core",
    "qtasks_core.aio",
    "qtasks_core.blocking",
    "qtasks_core.calls",
    "qtasks_core.config",
    "qtasks_core.contract",
    "qtasks_core.discovery",
    "qtasks_core.errors",
    "qtasks_core.events",
    "qtasks_core.forks",
    "qtasks_core.gathering",
    "qtasks_core.hookspecs",
    "qtasks_core.memory",
    "qtasks_core.middlewares",
    "qtasks_core.naming",
    "qtasks_core.routers",
    "qtasks_core.shared",
    "qtasks_core.task",
    "qtasks_core.task_context",
    "qtasks_core.task_logs",
    "qtasks_core.testing",
    "qtasks_core.wire",
    "qtasks_core.worker.executor",
    "qtasks_core.worker.processes",
)
"""What applications (through the façade) and plugins are built upon; every other module may change at any time."""


def _all_modules() -> list[str]:
    found = pkgutil.walk_packages(qtasks_core.__path__, "qtasks_core.")
    return sorted(one.name for one in found if not any(part.startswith("_") for part in one.name.split(".")))


def _isort_order(name: str) -> tuple[int, str]:
    """Return what ruff sorts __all__ by: constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def _members(one: type) -> set[str]:
    return {
        name
        for base in one.__mro__
        if base.__module__.startswith("qtasks_core")
        for name in {*vars(base), *inspect.get_annotations(base)}
        if not name.startswith("_")
    }


def _listed(module: str) -> list[str]:
    content = importlib.import_module(module)
    lines = []
    for name in content.__all__:
        value: Any = getattr(content, name)
        lines.append(f"{module}.{name}")
        if isinstance(value, type) and value.__module__.startswith(module):
            lines += [f"{module}.{name}.{member}" for member in sorted(_members(value))]
    return lines


def _public_api() -> list[str]:
    return [line for module in PUBLIC for line in _listed(module)]


def test_the_public_api_is_what_is_written_down() -> None:
    """A name more or less is a decision: public_api.txt is changed with it, and the CHANGELOG."""
    stored, real = STORED.read_text(encoding="utf-8").splitlines(), _public_api()

    assert stored == real, f"when it is meant so: python {Path(__file__).name}"


@pytest.mark.parametrize("module", _all_modules())
def test_each_module_lists_its_names(module: str) -> None:
    """Sorted, without repetitions; each exists; a package that is only a folder lists nothing."""
    content = importlib.import_module(module)
    names = getattr(content, "__all__", None)
    if names is None:
        own = [
            name
            for name, value in vars(content).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module
        ]
        assert [] == own
        return

    assert sorted(set(names), key=_isort_order) == list(names)
    assert [] == [name for name in names if not hasattr(content, name)]


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_is_explained(module: str) -> None:
    """What help() shows of it is not empty."""
    content = importlib.import_module(module)
    for name in content.__all__:
        value = getattr(content, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


if __name__ == "__main__":
    STORED.write_text("\n".join(_public_api()) + "\n", encoding="utf-8")
