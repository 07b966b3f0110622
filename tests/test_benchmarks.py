"""The benchmarks run. How fast anything is, is not a matter of tests."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from qtasks_testing.redis_server import RedisServer

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


def test_what_triggers_cost_is_printed() -> None:
    """Each measure with its time, then what follows from them."""
    printed = run("triggers.py", "--rounds", "1", "--tasks", "500").splitlines()
    assert ["no_plugin", "never_called", "one_def", "ten_defs"] == [line.split()[0] for line in printed[:4]]
    assert 12 == len(printed)


@pytest.mark.parametrize(("subject", "measure"), [("floor", "drain"), ("qtasks", "drain"), ("qtasks", "bulk")])
def test_a_subject_on_redis_tells_what_the_server_did(
    subject: str, measure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each measure of a subject on Redis ends with its figures, the server's among them."""
    with RedisServer(tmp_path / "server") as server:
        monkeypatch.setenv("BENCH_REDIS", server.url)
        printed = run(f"subjects/redis_{subject}.py", measure, "--folder", str(tmp_path), "--tasks", "600")
    figures = json.loads(printed.splitlines()[-1])
    assert {"drain": "redis_us", "bulk": "waiting_mb"}[measure] in figures
    assert all(value >= 0 for value in figures.values())


def test_a_peer_that_cannot_be_had_is_shown_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subject is never left out in silence: the table says why it was not measured."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    environments = importlib.import_module("environments")
    with pytest.raises(environments.CannotMakeError, match=r"needs Python 9\.9"):
        environments.python_with("peer", environments.Needs(("nothing",), (9, 9)), print)
    report = importlib.import_module("report")
    run = report.Run({"redis_peer": "needs Python 9.9"}, {}, 1, 1)
    assert "- `redis_peer` was not measured: needs Python 9.9" in report.tables(run, [])


def test_kills_are_counted_by_what_the_tasks_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken runs, tasks that never ended and second ends are told apart; the time runs until the last is back."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    storm = importlib.import_module("storm")
    path = tmp_path / "trace"
    lines = ["begin 0 1.0", "end 0 1.2", "begin 1 1.5", "begin 2 1.5", "end 1 7.0", "end 0 8.0", "end 3 9.0"]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert storm.Storm(1, 4, 1, 1, 2, math.inf, math.inf) == storm._Trace(path).storm(4, [2.0])
    path.write_text("\n".join([*lines, "end 2 7.5", ""]), encoding="utf-8")
    assert storm.Storm(1, 4, 0, 1, 2, 5.5, 5.5) == storm._Trace(path).storm(4, [2.0])


def test_what_dependencies_cost_is_printed() -> None:
    """Each measure with its time, then what follows from them."""
    printed = run("depends.py", "--rounds", "1", "--tasks", "500").splitlines()
    assert ["not_there", "none", "of_worker", "by_hand", "of_task"] == [line.split()[0] for line in printed[:5]]
    assert 9 == len(printed)
