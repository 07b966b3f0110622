"""Time what triggers cost a task, in microseconds of CPU on `memory://`, and compare it with the goals.

    python benchmarks/triggers.py

A task of an app without plugins pays a few questions, together at most 3 % of what it costs. Ten plugins on one trigger
cost what ten calls of their functions cost, here those of an executor that makes them itself.
"""

from __future__ import annotations

import click
from typical import typical_us

MEASURES = ("no_plugin", "never_called", "one_def", "ten_defs", "ten_calls", "ten_async", "ten_awaits", "sites")


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each is measured; medians count.")
@click.option("--tasks", default=5_000, show_default=True, help="Tasks in each measure, a multiple of 500.")
def main(rounds: int, tasks: int) -> None:
    """Time what triggers cost a task, in microseconds of CPU."""
    typical = typical_us("micro_triggers", MEASURES, rounds, tasks)
    plain = typical["no_plugin"]
    click.echo(f"all sites, no plugin: {typical['sites'] / plain:.1%} of a task (goal: at most 3 %)")
    click.echo(f"a plugin that is never called for a task: x {typical['never_called'] / plain:.2f}")
    click.echo(f"ten plugins for ten calls: x {typical['ten_defs'] / typical['ten_calls']:.2f} of a task")
    click.echo(f"ten plugins for ten awaited calls: x {typical['ten_async'] / typical['ten_awaits']:.2f} of a task")


if __name__ == "__main__":
    main()
