"""Tables of what was measured: for the terminal, and for docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from subject_list import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from goals import Verdict
    from measuring import Place, Round
    from storm import Storm

__all__ = ["Run", "page", "tables"]

COLUMNS = {
    "enqueue_per_s": ("single calls/s", "{:,.0f}"),
    "bulk_per_s": ("in bulk/s", "{:,.0f}"),
    "drain_per_s": ("drain/s", "{:,.0f}"),
    "cpu_us": ("CPU µs/task", "{:.1f}"),
    "redis_us": ("Redis µs/task", "{:.1f}"),
    "commands": ("commands/task", "{:.1f}"),
    "close_p50_ms": ("p50 ms, no pause", "{:.2f}"),
    "p50_ms": ("p50 ms", "{:.2f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "idle_percent": ("idle %", "{:.1f}"),
    "idle_commands": ("idle commands/s", "{:.1f}"),
    "rss_mb": ("RSS MB", "{:.0f}"),
    "waiting_mb": ("Redis MB/10,000", "{:.1f}"),
    "late_p50_ms": ("late p50 ms", "{:.1f}"),
    "late_p99_ms": ("late p99 ms", "{:.1f}"),
    "late_most_ms": ("late most ms", "{:.1f}"),
}
WORDS = {True: "yes", False: "**no**", None: "not measured"}
PAGE = """\
# Benchmarks

Measured by `scripts/bench --kills 6 --write`, which writes this page. Rates differ by a factor of two from machine to
machine and from hour to hour, so what counts are the ratios: each round measures all subjects one after the other, a
ratio is taken within a round, and the median of the rounds is shown. A single call returns when its task is stored by
the server; 50 are in flight. In bulk is each one's best way, `add_many` with us. A drain begins with the first task
that runs; ours ends when the last result is stored, that of the peers on Redis when the last task has run.
Round trips are made one at a time, with a worker in a process of its own: one right after the other, and with pauses of
10 ms, in which a virtual machine falls asleep, so that each wake-up costs all of them a part of a millisecond. Late is
how long after its time a task begins: 1,000 tasks are due at random times within 5 seconds, with slots free; that none
is early is checked.

Each peer is set up not to lose tasks, stores its results, writes no log, and runs on uvloop if it runs on asyncio. What
`benchmarks/subjects/` sets is written there and below; a caller who has to ask for a result does so each millisecond.

{tables}

Measured on {date}: {rounds} rounds of {tasks:,} tasks (several times as many where that takes less than a second) and
{trips:,} round trips; {machine}; {versions}.
"""
KILLS = """\
## Kill -9

One worker process is killed {kills} times, each time while it works through {batch} tasks of 20 ms, and replaced at
once. Broken off: runs that were under way. Missing: tasks that had not ended two minutes after the last kill. Ran
twice: ends beyond the first of a task. Back: seconds from a kill until the last task that it broke off had ended.

"""


@dataclass
class Run:
    """All that was measured.

    Parameters:
        absent: Why subjects were not measured.
        places: Those that were.
        tasks: In each measure of a rate.
        trips: Round trips.
        rounds: The figures.
        storms: What came of the kills.
    """

    absent: Mapping[str, str]
    places: Mapping[str, Place]
    tasks: int
    trips: int
    rounds: list[Round] = field(default_factory=list)
    storms: dict[str, Storm] = field(default_factory=dict)


def tables(run: Run, verdicts: Sequence[Verdict]) -> str:
    """Return the figures, the goals and the kills as tables in Markdown."""
    parts = [f"## {server}\n\n{text}" for server in _servers() if (text := _of_server(server, run, verdicts))]
    if run.storms:
        parts.append(_kills(run))
    return "\n\n".join(parts)


def page(run: Run, verdicts: Sequence[Verdict]) -> str:
    """Return docs/benchmarks.md."""
    versions = dict.fromkeys(f"{place.subject.distribution} {place.version}" for place in run.places.values())
    return PAGE.format(
        tables=tables(run, verdicts),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        rounds=len(run.rounds),
        tasks=run.tasks,
        trips=run.trips,
        machine=f"{os.cpu_count()} cores, {_processor()}, {sys.platform}",
        versions=", ".join((*_programs(run), *versions)),
    )


def _servers() -> Iterable[str]:
    return dict.fromkeys(subject.server for subject in SUBJECTS)


def _of_server(server: str, run: Run, verdicts: Sequence[Verdict]) -> str:
    present = [name for name, place in run.places.items() if place.subject.server == server]
    figures = {figure for one in run.rounds for name in present for figure in one.get(name, ())}
    columns = {figure: column for figure, column in COLUMNS.items() if figure in figures}
    head = ["", *(title for title, _ in columns.values()), "set up"]
    rows = [
        [f"`{name}`", *_cells(name, run.rounds, columns), run.places[name].subject.note] for name in present if columns
    ]
    goals = [
        [one.goal.text, f"{'≤' if one.goal.at_most else '≥'} {one.goal.bound:g}", _number(one), WORDS[one.is_met]]
        for one in verdicts
        if one.goal.subject.startswith(server)
    ]
    missing = [f"- `{name}` was not measured: {why}" for name, why in run.absent.items() if name.startswith(server)]
    parts = [_table(head, rows)] if rows else []
    parts += [_table(["goal", "bound", "measured", "met"], goals)] if goals else []
    return "\n\n".join([*parts, *(["\n".join(missing)] if missing else [])])


def _kills(run: Run) -> str:
    head = ["", "broken off", "missing", "ran twice", "back, median s", "back, most s"]
    rows = [
        [f"`{name}`", f"{one.held}", f"{one.lost}", f"{one.twice}", _seconds(one.back_s), _seconds(one.worst_s)]
        for name, one in run.storms.items()
    ]
    first = next(iter(run.storms.values()))
    return KILLS.format(kills=first.kills, batch=first.tasks // first.kills) + _table(head, rows)


def _cells(name: str, rounds: Sequence[Round], columns: Mapping[str, tuple[str, str]]) -> Iterable[str]:
    for figure, (_, form) in columns.items():
        values = [one[name][figure] for one in rounds if figure in one.get(name, {})]
        yield form.format(statistics.median(values)) if values else ""


def _seconds(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "not within 120"


def _number(verdict: Verdict) -> str:
    return "" if verdict.measured is None else f"{verdict.measured:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _programs(run: Run) -> Iterable[str]:
    """Name the versions of what no distribution has."""
    yield f"Python {platform.python_version()}"
    yield f"SQLite {sqlite3.sqlite_version}"
    redis = shutil.which("redis-server")
    if redis and any(place.subject.server == "redis" for place in run.places.values()):
        words = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True).stdout.split()
        yield "Redis " + next(word.removeprefix("v=") for word in words if word.startswith("v="))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
