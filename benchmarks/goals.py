"""The goals: ratios of figures that were measured in one run, and a few limits."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from subject_list import REDIS_PEERS

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
    beside: str | Sequence[str] = ""
    """The subject of the comparison, or several of which the best counts; without one the figure itself is bound."""
    at_most: bool = False
    other: str = ""
    """The figure of the comparison, if it is another one."""


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


IN_PYTHON = tuple(name for name in REDIS_PEERS if name != "redis_ardiq")
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
    Goal("drain, times the fastest peer", "redis_qtasks", "drain_per_s", 20, REDIS_PEERS),
    Goal("drain, times the fastest peer whose worker is Python", "redis_qtasks", "drain_per_s", 20, IN_PYTHON),
    Goal("drain, of the floor", "redis_qtasks", "drain_per_s", 0.5, "redis_floor"),
    Goal("add_many, times the fastest peer's best way", "redis_qtasks", "bulk_per_s", 10, REDIS_PEERS),
    Goal("add_many, times the fastest peer in Python", "redis_qtasks", "bulk_per_s", 10, IN_PYTHON),
    Goal("single calls, 50 in flight, times the fastest peer", "redis_qtasks", "enqueue_per_s", 6, REDIS_PEERS),
    Goal("single calls, times the fastest peer in Python", "redis_qtasks", "enqueue_per_s", 6, IN_PYTHON),
    Goal("round trip p50, of the fastest peer's", "redis_qtasks", "p50_ms", 0.3, REDIS_PEERS, at_most=True),
    Goal("the same without pauses", "redis_qtasks", "close_p50_ms", 0.3, REDIS_PEERS, at_most=True),
    Goal("the same, of the fastest peer in Python", "redis_qtasks", "close_p50_ms", 0.3, IN_PYTHON, at_most=True),
    Goal(
        "round trip p99, times its own p50", "redis_qtasks", "p99_ms", 3, "redis_qtasks", at_most=True, other="p50_ms"
    ),
    Goal("idle worker, commands a second on the wire", "redis_qtasks", "idle_commands", 1, at_most=True),
    Goal("idle worker, % of a core", "redis_qtasks", "idle_percent", 0.5, at_most=True),
    Goal("memory of a worker, MB", "redis_qtasks", "rss_mb", 45, at_most=True),
    Goal("Redis MB for 10,000 waiting tasks", "redis_qtasks", "waiting_mb", 3, at_most=True),
    Goal("two processes, times one, 1 ms of CPU a task", "redis_qtasks", "pair_ratio", 1.7),
    Goal("cost with 1,000,000 waiting, times with 1,000", "redis_qtasks", "deep_ratio", 1.2, at_most=True),
    Goal("1,000 tasks due within 5 s, most ms late", "redis_qtasks", "late_most_ms", 100, at_most=True),
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
    besides = (goal.beside,) if isinstance(goal.beside, str) else goal.beside
    figure = goal.other or goal.figure
    others = [one[name][figure] for name in besides if figure in one.get(name, {})]
    if not others:
        return None
    return own / (min(others) if figure.endswith("_ms") else max(others))
