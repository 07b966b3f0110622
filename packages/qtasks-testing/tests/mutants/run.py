"""Run the kit on the mutants and print which tests caught which, as JSON.

python run.py            the first tests of each mutant in caught_by.json: each of them has to fail
python run.py --write    the whole kit on all of them (some minutes); caught_by.json is written anew
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
TABLE = HERE / "caught_by.json"
FIRST = 3
RANDOM = "TestStateful"  # which example finds it, and when, is chance


class Catcher:
    """A pytest plugin: chooses tests, and notes which mutants they caught."""

    def __init__(self, wanted: dict[str, list[str]] | None) -> None:
        self.wanted = wanted
        self.caught: dict[str, dict[str, None]] = defaultdict(dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        items[:] = [item for item in items if "subject" in _params(item)]
        if self.wanted is not None:
            items[:] = [item for item in items if _name(item) in self.wanted.get(_params(item)["subject"], ())]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function) -> Any:
        report = yield
        mutant = self.caught[_params(item)["subject"]]
        if report.failed:
            mutant[_name(item)] = None
        return report


def _params(item: pytest.Function) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _name(item: pytest.Function) -> str:
    assert item.cls is not None
    return f"{item.cls.__name__}::{item.originalname}"


def main(arguments: Sequence[str]) -> None:
    write = "--write" in arguments
    table: dict[str, list[str]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    first = {mutant: [test for test in tests if RANDOM not in test][:FIRST] for mutant, tests in table.items()}
    catcher = Catcher(None if write else first)
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", "asyncio_mode=auto"]
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main([*options, str(HERE / "kit_of_mutants.py")], plugins=[catcher])
    caught = {mutant: list(tests) for mutant, tests in catcher.caught.items()}
    if write:
        TABLE.write_text(json.dumps(caught, indent=2) + "\n")
    print(json.dumps({"wanted": first, "caught": caught}))


if __name__ == "__main__":
    main(sys.argv[1:])
