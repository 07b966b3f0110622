"""Time the core's own part of a task's life, and compare it with another checkout or release of this project.

    python benchmarks/micro.py                    microseconds of each task
    python benchmarks/micro.py --beside ../before the same for both, run in turns, and the ratios of medians and minima
    python benchmarks/micro.py --beside dist/     beside the wheels of a release

A change of the hot path is measured like this before it is merged.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).parent / "subjects" / "micro_memory.py"
MEASURES = ("single_calls", "async_tasks", "thread_tasks")


@click.command()
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout, or a folder with the wheels of a release.",
)
@click.option("--rounds", default=7, show_default=True, help="How often each is measured; medians are shown.")
@click.option("--tasks", default=5_000, show_default=True, help="Tasks in each measure, a multiple of 500.")
def main(beside: Path | None, rounds: int, tasks: int) -> None:
    """Time the core's own part of a task's life, in microseconds a task."""
    with tempfile.TemporaryDirectory() as folder:
        ours = _sources(ROOT)
        both = [ours] if beside is None else [_unpacked(beside, folder) or _sources(beside), ours]
        for measure in MEASURES:
            times: list[list[float]] = [[] for _ in both]
            for _ in range(rounds):
                for found, path in zip(times, both, strict=True):
                    found.append(_measure(path, measure, tasks))
            _show(measure, [statistics.median(found) for found in times], [min(found) for found in times])


def _show(measure: str, medians: list[float], least: list[float]) -> None:
    words = " -> ".join(f"{median:.1f}" for median in medians)
    ratios = f", x {medians[-1] / medians[0]:.2f} (least x {least[-1] / least[0]:.2f})" if len(medians) > 1 else ""
    click.echo(f"{measure:14} {words} µs{ratios}")


def _sources(tree: Path) -> str:
    return os.pathsep.join(str(folder) for folder in sorted(tree.glob("packages/*/src")))


def _unpacked(wheels: Path, folder: str) -> str | None:
    """Unpack the wheels of a release; return where they are, or None when there are none."""
    found = sorted(wheels.glob("*.whl"))
    for wheel in found:
        zipfile.ZipFile(wheel).extractall(folder)
    return folder if found else None


def _measure(path: str, measure: str, tasks: int) -> float:
    command = [sys.executable, str(PROGRAM), measure, "--folder", ".", "--tasks", str(tasks)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


if __name__ == "__main__":
    main()
