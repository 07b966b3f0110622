"""The benchmarks run. How fast anything is, is not a matter of tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(program: str, *arguments: str) -> str:
    """Run a program of benchmarks/ and return what it prints."""
    command = [sys.executable, str(BENCHMARKS / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("subject", "measure", "tasks"),
    [
        ("sqlite_qtasks", "enqueue", 600),
        ("sqlite_qtasks", "enqueue_many", 600),
        ("sqlite_qtasks", "drain", 600),
        ("sqlite_qtasks", "due", 100),
        ("memory_qtasks", "due", 100),
    ],
)
def test_a_subject_prints_its_figures(subject: str, measure: str, tasks: int, tmp_path: Path) -> None:
    """Each measure of a subject ends with one JSON object of positive numbers."""
    printed = run(f"subjects/{subject}.py", measure, "--folder", str(tmp_path), "--tasks", str(tasks))
    figures = json.loads(printed.splitlines()[-1])
    assert figures
    assert all(value > 0 for value in figures.values())


def test_the_runner_prints_a_table() -> None:
    """Subjects that are chosen by the beginning of their names are measured and shown."""
    printed = run("run.py", "--only", "sqlite_floor", "--rounds", "1", "--tasks", "500")
    assert "| `sqlite_floor` |" in printed


def test_the_micro_benchmarks_print_times() -> None:
    """Each part of the core's own way is shown with its time."""
    printed = run("micro.py", "--rounds", "1", "--tasks", "500")
    assert ["single_calls", "async_tasks", "thread_tasks"] == [line.split()[0] for line in printed.splitlines()]
