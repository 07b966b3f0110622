"""The demo keeps its word, and would notice if it did not."""

import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

TEXT = "what one small file has in it is read, and counted, and added to what is in all the others\n" * 200


@pytest.fixture
def examples(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the examples, from which they can be imported."""
    folder = root / "examples"
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def counting(examples: Path) -> ModuleType:
    """Return the module that finds and counts files."""
    return importlib.import_module("wordcount.counting")


@pytest.fixture
def reporting(examples: Path) -> ModuleType:
    """Return the module that reports."""
    return importlib.import_module("wordcount.report")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a folder with 300 texts."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.txt").write_text(TEXT, encoding="utf-8")
    return folder


def run_demo(examples: Path, *options: object) -> tuple[int, str]:
    """Run the driver as scripts/demo does; return its exit code and all that it printed."""
    command = [sys.executable, "-W", "error", "-m", "wordcount", *map(str, options)]
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=examples, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def row_of(table: str, label: str) -> list[str]:
    """Return the cells of a row of the printed tables, after its label."""
    found = re.search(rf"^\W+{re.escape(label)}\s+(.*)$", table, re.MULTILINE)
    assert found, table
    return [cell.strip() for cell in re.split("[│|]", found[1]) if cell.strip()]


def report_of(reporting: ModuleType, **changes: Any) -> Any:
    """Return the report of a run in which all went well, with changes."""
    good: dict[str, Any] = {
        "files": 3,
        "queued": reporting.Total(Counter(a=2, b=1), 1.0),
        "direct": reporting.Total(Counter(a=2, b=1), 1.0),
        "runs": Counter({"1.txt": 1, "2.txt": 2, "3.txt": 1}),
        "lost": [],
        "left_at_kill": 1,
        "in_flight": 1,
        "exit_codes": [0, 0],
        "logs": "what the workers wrote",
    }
    return reporting.Report(**{**good, **changes})


def test_one_worker_is_killed_and_nothing_is_lost(examples: Path, texts: Path) -> None:
    """Two workers, one killed with work left: all is counted, the totals are those of a plain loop."""
    code, printed = run_demo(examples, "--folder", texts)
    assert 0 == code, printed
    assert printed.startswith(f"300 files of {texts}, one task for each\n")
    assert "lost 0, " in printed
    assert "totals are equal" in printed
    assert ["300", "300"] == row_of(printed, "files")
    words = f"{300 * len(TEXT.split()):,}"
    assert [words, words] == row_of(printed, "words")
    assert 0 < int(row_of(printed, "left when a worker was killed")[0]) <= 200
    assert 0 <= int(row_of(printed, "tasks run twice")[0]) <= 4


def test_the_standard_library_is_what_is_counted(counting: ModuleType) -> None:
    """Without --folder it is hundreds of files of the running Python, none of an installed package."""
    files = counting.find_files(counting.standard_library())
    assert 600 <= len(files) <= 2_000
    assert Path(os.__file__) in files
    assert [] == [path for path in files if "site-packages" in path.parts]
    assert 100 == len(set(counting.find_files(counting.standard_library(), 100)))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs a file that each process reads differently")
def test_totals_that_differ_fail_the_demo(examples: Path, texts: Path) -> None:
    """A file that reads differently in a worker than in the driver is noticed: exit code 1, and the words are named."""
    (texts / "999.txt").symlink_to("/proc/self/cmdline")
    code, printed = run_demo(examples, "--folder", texts)
    assert 1 == code, printed
    assert re.search(r"^FAILED: the totals of \d+ words differ, among them app, ", printed, re.MULTILINE), printed
    assert "totals differ" in printed
    assert "worker ready" in printed  # the logs


def test_a_good_run_has_no_problems(reporting: ModuleType) -> None:
    """A task that ran twice is no problem while no more did than were in flight; the exit code is 0."""
    assert [] == report_of(reporting).problems()
    assert 0 == reporting.show(report_of(reporting), Console(file=StringIO()))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"lost": ["2.txt: TimeoutError()"]}, "lost: 2.txt: TimeoutError()"),
        ({"runs": Counter({"1.txt": 1, "2.txt": 1})}, "1 tasks never ran"),
        (
            {"runs": Counter({"1.txt": 2, "2.txt": 2, "3.txt": 1})},
            "2 runs too many, but only 1 tasks were in flight at the kill",
        ),
        ({"left_at_kill": 0}, "the worker was killed when no work was left, so this proves nothing; take more files"),
        ({"exit_codes": [0, 1]}, "workers ended with [0, 1] after SIGTERM, expected 0"),
    ],
)
def test_what_is_not_as_promised_fails_the_demo(reporting: ModuleType, changes: dict[str, Any], problem: str) -> None:
    """Each broken promise is named, with the logs of the workers, and the exit code is 1."""
    output = StringIO()
    code = reporting.show(report_of(reporting, **changes), Console(file=output, width=200))
    assert [problem] == report_of(reporting, **changes).problems()
    assert 1 == code
    assert f"FAILED: {problem}" in output.getvalue()
    assert "what the workers wrote" in output.getvalue()


def test_totals_are_compared_word_by_word(reporting: ModuleType) -> None:
    """The same number of words is not enough: each word must have been found as often."""
    changed = report_of(reporting, queued=reporting.Total(Counter(a=1, b=1, c=1), 1.0))
    assert ["the totals of 2 words differ, among them a, c"] == changed.problems()
