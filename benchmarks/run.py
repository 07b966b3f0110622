"""Measure QTasks, its peers and the floor in one run; print figures, ratios and goals.

scripts/bench runs this; `--write` also writes docs/benchmarks.md.
"""

from __future__ import annotations

from pathlib import Path

import click
from goals import judge
from measuring import SUBJECTS, run_rounds
from report import page, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often all is measured; medians are shown.")
@click.option("--tasks", default=20_000, show_default=True, help="Tasks in each measure of a rate.")
@click.option("--trips", default=300, show_default=True, help="Round trips.")
@click.option("--only", multiple=True, help="Subjects whose names begin like this.")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md.")
def main(rounds: int, tasks: int, trips: int, only: tuple[str, ...], *, write: bool) -> None:
    """Measure QTasks, its peers and the floor in one run."""
    chosen = [subject for subject in SUBJECTS if not only or subject.name.startswith(only)]
    missing = [subject.distribution for subject in chosen if subject.version is None]
    if missing:
        click.echo(f"not installed, and left out: {', '.join(missing)}", err=True)
    present = [subject for subject in chosen if subject.version is not None]
    if not present:
        names = ", ".join(subject.name for subject in SUBJECTS)
        raise click.BadParameter(f"expected the beginning of one of {names}, got {' '.join(only)!r}")
    measured = list(run_rounds(present, rounds, tasks, trips, lambda text: click.echo(text, err=True)))
    verdicts = judge(measured)
    click.echo(tables(SUBJECTS, measured, verdicts))
    if write:
        PAGE.write_text(page(SUBJECTS, measured, verdicts, tasks, trips), encoding="utf-8")
        click.echo(f"written: {PAGE.relative_to(PAGE.parents[1])}", err=True)


if __name__ == "__main__":
    main()
