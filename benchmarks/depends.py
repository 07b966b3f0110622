"""Time what dependencies cost a task, in microseconds of CPU on `memory://`, and compare it with the goals.

    python benchmarks/depends.py

A task without dependencies costs what it does without the plugin; one of the worker's scope at most 5 % more; an async
generator of the task's scope at most twice what entering and leaving it by hand costs.
"""

from __future__ import annotations

import click
from typical import typical_us

MEASURES = ("not_there", "none", "of_worker", "by_hand", "of_task")


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each is measured; medians count.")
@click.option("--tasks", default=5_000, show_default=True, help="Tasks in each measure, a multiple of 500.")
def main(rounds: int, tasks: int) -> None:
    """Time what dependencies cost a task, in microseconds of CPU."""
    typical = typical_us("micro_depends", MEASURES, rounds, tasks)
    plain = typical["none"]
    click.echo(f"no dependency, plugin installed: x {plain / typical['not_there']:.3f} of a task without it (goal: 1)")
    click.echo(f"one of the worker's scope: x {typical['of_worker'] / plain:.3f} (goal: at most 1.05)")
    by_hand, of_task = typical["by_hand"] - plain, typical["of_task"] - plain
    click.echo(f"an async generator of the task: {of_task:.2f} µs, by hand {by_hand:.2f}")
    click.echo(f"that is x {of_task / by_hand:.2f} (goal: at most 2)")


if __name__ == "__main__":
    main()
