"""Each broken copy of memory:// is caught by the tests that are about what it breaks; docs/mutants.md has the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qtasks_testing import kit

FOLDER = Path(__file__).parent / "mutants"
sys.path.insert(0, str(FOLDER))  # a folder of programs: no package is there
from mutants import MUTANTS, UNBROKEN  # noqa: E402  # as above
from mutants_table import PAGE, page  # noqa: E402  # as above

sys.path.remove(str(FOLDER))

NAMES = [name for name in MUTANTS if name != UNBROKEN]
NOT_OF_THE_BACKEND = {
    "Suite",  # the base of all
    "RefusalsSuite",  # what users are told where a backend lacks something: the core says it
}


def _run() -> Any:
    """Run the tests that have to catch mutants, all in one process."""
    command = [sys.executable, str(FOLDER / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER, timeout=550)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.once
@pytest.mark.timeout(600)  # a minute and a quarter, on a machine that is not busy
def test_each_broken_copy_is_caught() -> None:
    """By each test that is about what it breaks, and for that: what is whole passes them, no mutant just falls over."""
    found = _run()

    caught = {name: [test for test in MUTANTS[name].by if test in found["caught"].get(name, [])] for name in NAMES}
    assert {name: list(MUTANTS[name].by) for name in NAMES} == caught
    assert [] == found["caught"].get(UNBROKEN, [])
    assert sorted({test for mutant in MUTANTS.values() for test in mutant.by}) == found["passed"]
    assert [] == found["faults"]


def test_each_broken_copy_has_a_test() -> None:
    """That is about what it breaks."""
    assert [] == [name for name in NAMES if not MUTANTS[name].by]


def test_every_suite_catches_something() -> None:
    """A suite that no mutant needs would not be missed."""
    suites = {name for name in kit.__all__ if name.endswith("Suite")} - NOT_OF_THE_BACKEND

    assert sorted(suites) == sorted({test.partition("::")[0] for mutant in MUTANTS.values() for test in mutant.by})


def test_the_table_is_that_of_the_mutants() -> None:
    """docs/mutants.md has each of them, what it breaks, and who sees it."""
    assert page() == PAGE.read_text(encoding="utf-8"), "python packages/qtasks-testing/tests/mutants/mutants_table.py"
