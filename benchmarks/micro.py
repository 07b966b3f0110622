"""Time the core's own part of a task's life, and compare it with another checkout of this project.

    python benchmarks/micro.py                    microseconds of each task
    python benchmarks/micro.py --beside ../before the same for both, run in turns, and the ratio of their medians

A change of the hot path is measured like this before it is merged.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).parent / "subjects" / "micro_memory.py"
MEASURES = ("single_calls", "async_tasks", "thread_tasks")


@click.command()
@click.option("--beside", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout.")
@click.option("--rounds", default=7, show_default=True, help="How often each is measured; medians are shown.")
@click.option("--tasks", default=5_000, show_default=True, help="Tasks in each measure, a multiple of 500.")
def main(beside: Path | None, rounds: int, tasks: int) -> None:
    """Time the core's own part of a task's life, in microseconds a task."""
    trees = [ROOT] if beside is None else [beside, ROOT]
    for measure in MEASURES:
        times: dict[Path, list[float]] = {tree: [] for tree in trees}
        for _ in range(rounds):
            for tree in trees:
                times[tree].append(_measure(tree, measure, tasks))
        medians = [statistics.median(times[tree]) for tree in trees]
        words = " -> ".join(f"{median:.1f}" for median in medians)
        click.echo(f"{measure:14} {words} µs" + ("" if beside is None else f", x {medians[1] / medians[0]:.2f}"))


def _measure(tree: Path, measure: str, tasks: int) -> float:
    sources = os.pathsep.join(str(folder) for folder in sorted(tree.glob("packages/*/src")))
    command = [sys.executable, str(PROGRAM), measure, "--folder", ".", "--tasks", str(tasks)]
    environment = {**os.environ, "PYTHONPATH": sources}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


if __name__ == "__main__":
    main()
