"""The least CPU time that each measure of a subject takes a task, of several rounds in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["least_us"]

ROOT = Path(__file__).parents[1]


def least_us(subject: str, measures: Sequence[str], rounds: int, tasks: int) -> dict[str, float]:
    """Take and print the measures of a subject on this tree; return microseconds of CPU a task by measure.

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
    least = {measure: min(times) for measure, times in found.items()}
    for measure, us in least.items():
        click.echo(f"{measure:14} {us:.2f} µs")
    return least


def _measure(subject: str, measure: str, tasks: int) -> float:
    program = Path(__file__).parent / "subjects" / f"{subject}.py"
    command = [sys.executable, str(program), measure, "--folder", ".", "--tasks", str(tasks)]
    sources = os.pathsep.join(str(folder) for folder in sorted(ROOT.glob("packages/*/src")))
    environment = {**os.environ, "PYTHONPATH": sources}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_us"])
