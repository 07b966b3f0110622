"""Run the kit on the mutants and print which tests caught which, as JSON.

python run.py          the tests that have to catch each mutant, and the same on what is whole
python run.py NAME...  the whole kit on some mutants (each some minutes): for who writes one, and looks for its tests
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mutants import MUTANTS, UNBROKEN  # siblings: no package is here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent


class Catcher:
    """A pytest plugin: chooses tests, and notes which mutants they caught.

    Parameters:
        is_wanted: Of a mutant and a test.
    """

    def __init__(self, is_wanted: Callable[[str, str], bool]) -> None:
        self._is_wanted = is_wanted
        self.caught: dict[str, dict[str, None]] = defaultdict(dict)
        self.ran: dict[str, dict[str, None]] = defaultdict(dict)
        self.faults: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        items[:] = [item for item in items if "subject" in _params(item) and self._is_wanted(*_names(item))]
        items.sort(key=lambda item: list(MUTANTS).index(_names(item)[0]))  # what is whole, before others did harm

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: pytest.CallInfo[None]) -> Any:
        report = yield
        mutant, test = _names(item)
        self.ran[mutant][test] = None
        if report.failed:
            self.caught[mutant][test] = None
            self._look_into(f"{mutant}: {test}", call)
        return report

    def _look_into(self, what: str, call: pytest.CallInfo[None]) -> None:
        """Note a mutant whose own code raises: it has to be wrong, not to fall over, which anything would find."""
        error = call.excinfo
        if error is None or isinstance(error.value, (AssertionError, TimeoutError)):
            return
        last = Path(str(error.traceback[-1].path))
        if last.parent == HERE:
            self.faults.append(f"{what}: {error.exconly()}, in {last.name}:{error.traceback[-1].lineno + 1}")


def _params(item: pytest.Function) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _names(item: pytest.Function) -> tuple[str, str]:
    assert item.cls is not None
    return _params(item)["subject"], f"{item.cls.__name__.removeprefix('Test')}::{item.originalname}"


def _run(is_wanted: Callable[[str, str], bool]) -> Catcher:
    catcher = Catcher(is_wanted)
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", "asyncio_mode=auto"]
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main([*options, str(HERE / "kit_of_mutants.py")], plugins=[catcher])
    return catcher


def check() -> None:
    """Run the tests that have to catch a mutant; on what is whole too, which they must not catch."""
    by = {name: set(mutant.by) for name, mutant in MUTANTS.items()}
    by[UNBROKEN] = set().union(*by.values())
    found = _run(lambda mutant, test: test in by[mutant])
    caught = {mutant: list(tests) for mutant, tests in found.caught.items()}
    print(json.dumps({"caught": caught, "passed": sorted(found.ran[UNBROKEN]), "faults": found.faults}))


def look(names: Sequence[str]) -> None:
    """Run the whole kit on these mutants."""
    found = _run(lambda mutant, _: mutant in names)
    caught = {mutant: list(tests) for mutant, tests in found.caught.items()}
    print(json.dumps({"caught": caught, "faults": found.faults}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:]:
        look(sys.argv[1:])
    else:
        check()
