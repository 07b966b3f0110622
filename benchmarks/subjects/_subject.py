"""What each subject's program has in common: its command line, its clocks, and the two loops that press it.

A subject is a program with functions named after what is measured; each runs in a process of its own and prints its
figures as one JSON object: `python subjects/NAME.py MEASURE --folder FOLDER --tasks N`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["IN_FLIGHT", "Spent", "add_from_threads", "check_stored", "main", "round_trips"]

IN_FLIGHT = 50
IDLE_S = 10.0
PAUSE_S = 0.01  # between two round trips: the system is idle when one begins
LONG_S = 15.0  # for round trips of one kind
WARM_UP = 50
STOP_S = 30.0

Figures = dict[str, float]


class Spent:
    """Wall time and this process's CPU time since the first call of `begin`."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    def begin(self) -> None:
        """Start the clocks, once."""
        if self._start is None:
            self._start = time.perf_counter(), _cpu_s()

    def figures(self, tasks: int) -> Figures:
        """Return the figures of a drain of so many tasks."""
        if self._start is None:
            raise RuntimeError("no task was run")
        wall, cpu = time.perf_counter() - self._start[0], _cpu_s() - self._start[1]
        return {
            "drain_per_s": tasks / wall,
            "cpu_us": cpu / tasks * 1e6,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def main(measures: Mapping[str, Callable[..., Any]]) -> None:
    """Run the measure that the command line names, print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("measure", choices=sorted(measures))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=10_000)
    asked = parser.parse_args()
    figures = measures[asked.measure](asked.folder, asked.tasks)
    if figures is not None:
        print(json.dumps(figures))


def check_stored(stored: int, tasks: int) -> None:
    """Raise RuntimeError where a subject was fast because it did less."""
    if stored != tasks:
        raise RuntimeError(f"{stored} of {tasks} results were stored")


def add_from_threads(add: Callable[[int], object], tasks: int) -> Figures:
    """Time single calls of a blocking client, from one thread and from many: the better figure counts."""
    best = 0.0
    for threads in (1, IN_FLIGHT):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(add, range(threads)))
            start = time.perf_counter()
            list(pool.map(add, range(tasks)))
            best = max(best, tasks / (time.perf_counter() - start))
    return {"enqueue_per_s": best}


def round_trips(
    folder: Path, tasks: int, ask: Callable[[int], object], idle: Callable[[float], Figures] | None = None
) -> Figures:
    """Time calls and their results one by one beside a worker in a process of its own, then let that idle.

    Parameters:
        folder: Of the subject's files.
        tasks: How many.
        ask: Makes a call and waits for its result.
        idle: Takes as many seconds as it is given, and returns what else there is to tell of an idle worker.
    """
    with _worker(folder) as process:
        _trips(ask, WARM_UP, 0)
        close = _trips(ask, tasks, 0)
        times = _trips(ask, tasks, PAUSE_S)
        time.sleep(1.0)
        before = _cpu_ticks(process)
        told = (idle or _wait)(IDLE_S)
        percent = (_cpu_ticks(process) - before) / os.sysconf("SC_CLK_TCK") / IDLE_S * 100
    trips = {"p50_ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)]}
    return {**trips, "close_p50_ms": close[len(close) // 2], "idle_percent": percent, **told}


def _trips(ask: Callable[[int], object], tasks: int, pause_s: float) -> list[float]:
    """Return the milliseconds of so many trips, sorted; of fewer, where they take long."""
    times: list[float] = []
    end = time.monotonic() + LONG_S
    while len(times) < tasks and time.monotonic() < end:
        time.sleep(pause_s)
        start = time.perf_counter()
        ask(len(times))
        times.append((time.perf_counter() - start) * 1000)
    return sorted(times)


def _wait(seconds: float) -> Figures:
    time.sleep(seconds)
    return {}


@contextlib.contextmanager
def _worker(folder: Path) -> Iterator[int]:
    """Run this program's own measure `worker` meanwhile."""
    command = [sys.executable, sys.argv[0], "worker", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
