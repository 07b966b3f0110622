"""Runs subjects round by round, each measure in a process and a folder of its own: all see the same machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["SUBJECTS", "Round", "Subject", "run_rounds"]

HERE = Path(__file__).parent
TIMEOUT_S = 600
DUE = 1000  # tasks that are due at random times; their number makes the times, so it is not the caller's choice

Round = dict[str, dict[str, float]]  # subject: figure: value


class Subject(NamedTuple):
    """A program in subjects/, and the distribution that it presses."""

    name: str
    distribution: str
    measures: Sequence[str]
    note: str

    @property
    def version(self) -> str | None:
        """Of the distribution; None when it is not installed."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


ALL = ("enqueue", "drain", "round_trip")
SUBJECTS: Sequence[Subject] = (
    Subject("sqlite_floor", "qtasks-core", ("enqueue", "drain"), "bare sqlite3, FULL, 50 a commit"),
    Subject("sqlite_qtasks", "qtasks", (*ALL, "enqueue_many", "due"), "FULL, results stored, 100 slots"),
    Subject("sqlite_huey", "huey", ALL, "fsync, results stored, 8 threads"),
    Subject("sqlite_honker", "honker", ALL, "NORMAL, results stored, 8 workers"),
    Subject("memory_qtasks", "qtasks", ("due",), "in the worker's process"),
)


def run_rounds(
    subjects: Sequence[Subject], rounds: int, tasks: int, trips: int, told: Callable[[str], None]
) -> Iterator[Round]:
    """Measure all subjects once a round.

    Parameters:
        subjects: Those that are installed.
        rounds: How many.
        tasks: In each measure of a rate.
        trips: Round trips.
        told: Hears what is measured.
    """
    for number in range(1, rounds + 1):
        one: Round = {}
        measures = dict.fromkeys(measure for subject in subjects for measure in subject.measures)
        for measure in measures:
            for subject in subjects:
                if measure in subject.measures:
                    told(f"round {number} of {rounds}: {measure} of {subject.name}")
                    count = {"round_trip": trips, "due": DUE}.get(measure, tasks)
                    one.setdefault(subject.name, {}).update(_measure(subject, measure, count))
        yield one


def _measure(subject: Subject, measure: str, tasks: int) -> dict[str, float]:
    program = str(HERE / "subjects" / f"{subject.name}.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, program, measure, "--folder", folder, "--tasks", str(tasks)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{measure} of {subject.name} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
