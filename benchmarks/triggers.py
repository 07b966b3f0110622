"""Time what triggers cost a task, in microseconds of CPU on `memory://`, and compare it with the goals.

    python benchmarks/triggers.py

A task of an app without plugins pays a few questions, together at most 3 % of what it costs. Ten plugins on one trigger
cost what ten calls of their functions cost, here those of an executor that makes them itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).parent / "subjects" / "micro_triggers.py"
MEASURES = ("no_plugin", "never_called", "one_def", "ten_defs", "ten_calls", "ten_async", "ten_awaits", "sites")


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each is measured; the least is shown.")
@click.option("--tasks", default=5_000, show_default=True, help="Tasks in each measure, a multiple of 500.")
def main(rounds: int, tasks: int) -> None:
    """Time what triggers cost a task, in microseconds of CPU."""
    found = {measure: [0.0] * 0 for measure in MEASURES}
    for _ in range(rounds):
        for measure, times in found.items():
            times.append(_measure(measure, tasks))
    least = {measure: min(times) for measure, times in found.items()}
    for measure, us in least.items():
        click.echo(f"{measure:14} {us:.2f} µs")
    plain = least["no_plugin"]
    click.echo(f"all sites, no plugin: {least['sites'] / plain:.1%} of a task (goal: at most 3 %)")
    click.echo(f"a plugin that is never called for a task: x {least['never_called'] / plain:.2f}")
    click.echo(f"ten plugins for ten calls: x {least['ten_defs'] / least['ten_calls']:.2f} of a task")
    click.echo(f"ten plugins for ten awaited calls: x {least['ten_async'] / least['ten_awaits']:.2f} of a task")


def _measure(measure: str, tasks: int) -> float:
    command = [sys.executable, str(PROGRAM), measure, "--folder", ".", "--tasks", str(tasks)]
    sources = os.pathsep.join(str(folder) for folder in sorted(ROOT.glob("packages/*/src")))
    environment = {**os.environ, "PYTHONPATH": sources}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_us"])


if __name__ == "__main__":
    main()
