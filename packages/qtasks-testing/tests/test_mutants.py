"""Each broken copy of memory:// is caught by the kit; `mutants/caught_by.json` says by which tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MUTANTS = Path(__file__).parent / "mutants"


def _names() -> list[str]:
    spec = importlib.util.spec_from_file_location("qtasks_testing_mutants", MUTANTS / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [name for name in module.MUTANTS if name != "unbroken"]


NAMES = _names()


@pytest.fixture(scope="module")
def found() -> Any:
    """Run the tests that are known to catch mutants, all in one process."""
    command = [sys.executable, str(MUTANTS / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=MUTANTS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_copy_is_caught(found: Any, name: str) -> None:
    """By at least one test, and by each that the table names first."""
    wanted = found["wanted"].get(name, [])

    assert wanted
    assert sorted(found["caught"].get(name, [])) == sorted(wanted)


def test_the_table_has_every_mutant() -> None:
    """And only those; what is whole is caught by nothing."""
    table = json.loads((MUTANTS / "caught_by.json").read_text())

    assert sorted(table) == sorted([*NAMES, "unbroken"])
    assert table["unbroken"] == []
