"""The CPU time that each measure of a subject takes a task: the median of several rounds, taken in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["typical_us"]

ROOT = Path(__file__).parents[1]


def typical_us(subject: str, measures: Sequence[str], rounds: int, tasks: int) -> dict[str, float]:
    """Take and print the measures of a subject on this tree; return the medians in microseconds of CPU a task.

    Parameters:
        subject: A program of subjects/, without `.py`.
        measures: Their names.
        rounds: How often each is taken.
        tasks: Tasks in each.
    """
    found = {measure: [0.0] * 0 for measure in measures}
    for _ in range(rounds):
        for measure, times in found.items():
            times.append(_measure(subject, measure, tasks))
    for measure, times in found.items():
        click.echo(f"{measure:14} {statistics.median(times):.2f} µs (least {min(times):.2f})")
    return {measure: statistics.median(times) for measure, times in found.items()}


def _measure(subject: str, measure: str, tasks: int) -> float:
    program = Path(__file__).parent / "subjects" / f"{subject}.py"
    command = [sys.executable, str(program), measure, "--folder", ".", "--tasks", str(tasks)]
    sources = os.pathsep.join(str(folder) for folder in sorted(ROOT.glob("packages/*/src")))
    environment = {**os.environ, "PYTHONPATH": sources}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_us"])
