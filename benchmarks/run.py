"""Measure QTasks, its peers and the floor in one run; print figures, ratios and goals.

scripts/bench runs this; `--write` also writes docs/benchmarks.md.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from goals import judge
from measuring import prepare, run_rounds
from report import Run, page, tables
from storm import run_storms
from subject_list import SUBJECTS

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often all is measured; medians are shown.")
@click.option("--tasks", default=10_000, show_default=True, help="Tasks in each measure of a rate.")
@click.option("--trips", default=300, show_default=True, help="Round trips.")
@click.option("--only", multiple=True, help="Subjects whose names begin like this.")
@click.option("--kills", default=0, show_default=True, help="How often workers are killed in the table of kills.")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md.")
def main(rounds: int, tasks: int, trips: int, kills: int, only: tuple[str, ...], *, write: bool) -> None:
    """Measure QTasks, its peers and the floor in one run."""
    chosen = [subject for subject in SUBJECTS if not only or subject.name.startswith(only)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and workers are stopped on the way out
    if not chosen:
        names = ", ".join(subject.name for subject in SUBJECTS)
        raise click.BadParameter(f"expected the beginning of one of {names}, got {' '.join(only)!r}")
    places, absent = prepare(chosen, tell)
    run = Run(absent, dict(places), tasks, trips)
    run.rounds += run_rounds(places, rounds, tasks, trips, told=tell, failed=absent)
    verdicts = judge(run.rounds)
    if kills:
        tell(tables(run, verdicts))  # the kills take long
        run.storms.update(run_storms(places, kills, tell, absent))
    click.echo(tables(run, verdicts))
    if write:
        PAGE.write_text(page(run, verdicts), encoding="utf-8")
        tell(f"written: {PAGE.relative_to(PAGE.parents[1])}")
    if any(name.partition(",")[0].endswith(("_floor", "_qtasks")) for name in absent):
        raise SystemExit(1)


def tell(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
