"""The goals: ratios of figures that were measured in one run, and a few limits."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from measuring import Round

__all__ = ["GOALS", "Goal", "Verdict", "judge"]


class Goal(NamedTuple):
    """What a subject must reach in a figure, as a multiple of another subject's, or as a limit of its own."""

    text: str
    subject: str
    figure: str
    bound: float
    beside: str = ""
    """The subject of the comparison; the figure itself is bound when there is none."""
    at_most: bool = False


class Verdict(NamedTuple):
    """A goal, and what was measured: the median of the rounds; None where something is not installed."""

    goal: Goal
    measured: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal was reached; None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.goal.bound if self.goal.at_most else self.measured >= self.goal.bound


GOALS: Sequence[Goal] = (
    Goal("drain, of the floor at equal batches", "sqlite_qtasks", "drain_per_s", 0.4, "sqlite_floor"),
    Goal("drain, times huey", "sqlite_qtasks", "drain_per_s", 12, "sqlite_huey"),
    Goal("drain, times honker", "sqlite_qtasks", "drain_per_s", 7, "sqlite_honker"),
    Goal("single calls, 50 in flight, times huey", "sqlite_qtasks", "enqueue_per_s", 4, "sqlite_huey"),
    Goal("round trip p50, ms", "sqlite_qtasks", "p50_ms", 3, at_most=True),
    Goal("idle worker, % of a core", "sqlite_qtasks", "idle_percent", 1, at_most=True),
    Goal("memory of a worker, MB", "sqlite_qtasks", "rss_mb", 45, at_most=True),
    Goal("1,000 tasks due within 5 s, most ms late", "sqlite_qtasks", "late_most_ms", 100, at_most=True),
    Goal("the same on memory://, most ms late", "memory_qtasks", "late_most_ms", 100, at_most=True),
)


def judge(rounds: Sequence[Round]) -> list[Verdict]:
    """Compare what was measured with the goals of the subjects that took part."""
    present = {subject for one in rounds for subject in one}
    return [Verdict(goal, _measured(goal, rounds)) for goal in GOALS if goal.subject in present]


def _measured(goal: Goal, rounds: Sequence[Round]) -> float | None:
    values = [value for one in rounds if (value := _in_round(goal, one)) is not None]
    return statistics.median(values) if values else None


def _in_round(goal: Goal, one: Mapping[str, Mapping[str, float]]) -> float | None:
    own = one.get(goal.subject, {}).get(goal.figure)
    if own is None or not goal.beside:
        return own
    other = one.get(goal.beside, {}).get(goal.figure)
    return None if other is None else own / other
