"""Tables of what was measured: for the terminal, and for docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sqlite3
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from goals import Verdict
    from measuring import Round, Subject

__all__ = ["page", "tables"]

COLUMNS = {
    "enqueue_per_s": ("single calls/s", "{:,.0f}"),
    "bulk_per_s": ("add_many/s", "{:,.0f}"),
    "drain_per_s": ("drain/s", "{:,.0f}"),
    "cpu_us": ("CPU µs/task", "{:.1f}"),
    "p50_ms": ("p50 ms", "{:.2f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "idle_percent": ("idle %", "{:.1f}"),
    "rss_mb": ("RSS MB", "{:.0f}"),
    "late_p50_ms": ("late p50 ms", "{:.1f}"),
    "late_p99_ms": ("late p99 ms", "{:.1f}"),
    "late_most_ms": ("late most ms", "{:.1f}"),
}
WORDS = {True: "yes", False: "**no**", None: "not measured"}
PAGE = """\
# Benchmarks

Measured by `scripts/bench --write`, which writes this page. Rates differ by a factor of two from machine to machine
and from hour to hour, so what counts are the ratios: each round measures all subjects one after the other, a ratio is
taken within a round, and the median of the rounds is shown. A single call returns when its task is on disk. A drain
begins with the first task that runs and ends when the last result is stored. Round trips are made one at a time on an
idle system, with a worker in a process of its own. Late is how long after its time a task begins: 1,000 tasks
are due at random times within 5 seconds, with slots free; that none is early is checked.

{tables}

Measured on {date}: {rounds} rounds of {tasks:,} tasks and {trips:,} round trips; {machine}; {versions}.
"""


def tables(subjects: Sequence[Subject], rounds: Sequence[Round], verdicts: Sequence[Verdict]) -> str:
    """Return the figures and the goals as two tables in Markdown."""
    names = {subject.name: subject for subject in subjects}
    head = ["", *(title for title, _ in COLUMNS.values()), "set up"]
    rows = [[f"`{name}`", *_cells(name, rounds), names[name].note] for name in rounds[0]]
    goals = [
        [one.goal.text, f"{'≤' if one.goal.at_most else '≥'} {one.goal.bound:g}", _number(one), WORDS[one.is_met]]
        for one in verdicts
    ]
    return _table(head, rows) + "\n\n" + _table(["goal", "bound", "measured", "met"], goals)


def page(
    subjects: Sequence[Subject], rounds: Sequence[Round], verdicts: Sequence[Verdict], tasks: int, trips: int
) -> str:
    """Return docs/benchmarks.md."""
    used = [subject for subject in subjects if subject.version]
    versions = ", ".join(dict.fromkeys(f"{one.distribution} {one.version}" for one in used))
    return PAGE.format(
        tables=tables(subjects, rounds, verdicts),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        rounds=len(rounds),
        tasks=tasks,
        trips=trips,
        machine=_machine(),
        versions=f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}",
    )


def _cells(name: str, rounds: Sequence[Round]) -> Iterable[str]:
    for figure, (_, form) in COLUMNS.items():
        values = [one[name][figure] for one in rounds if figure in one[name]]
        yield form.format(statistics.median(values)) if values else ""


def _number(verdict: Verdict) -> str:
    return "" if verdict.measured is None else f"{verdict.measured:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine() -> str:
    return f"{os.cpu_count()} cores, {_processor()}, {sys.platform}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
