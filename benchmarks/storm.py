"""Kill -9 of a worker under load, again and again: what is lost, what runs twice, and when it is back.

Each subject gets the same: before each kill a batch of tasks of 20 ms is added, and the one worker process is killed
when half of them have ended, so that its slots are full; a new one starts at once. At the end all that was added must
have ended. Each run notes its begin and its end in a file, whatever the queue thinks of it.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from measuring import server_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

    from measuring import Place

__all__ = ["Storm", "run_storms"]

BATCH = 500  # tasks for each kill
PATIENCE_S = 120.0  # after the last kill: what has not ended by then is lost, or as good as lost
HALF_S = 30.0  # for half of a batch; then the worker is killed all the same
TICK_S = 0.01


class Storm(NamedTuple):
    """What came of the tasks of one subject.

    Parameters:
        kills: How many.
        tasks: How many were added.
        lost: Those that had not ended two minutes after the last kill.
        twice: Ends beyond the first of a task.
        held: Runs that a kill broke off.
        back_s: Seconds from a kill until the last task that it broke off had ended; the median.
        worst_s: The most of the kills; infinite where one is missing.
    """

    kills: int
    tasks: int
    lost: int
    twice: int
    held: int
    back_s: float
    worst_s: float


def run_storms(
    places: Mapping[str, Place], kills: int, told: Callable[[str], None], failed: MutableMapping[str, str]
) -> Iterator[tuple[str, Storm]]:
    """Kill the workers of all subjects on Redis but the floor, which recovers nothing.

    Parameters:
        places: The subjects.
        kills: For each.
        told: Hears what is done.
        failed: Gets the reasons of those that could not go through it.
    """
    for name, place in places.items():
        if place.subject.server == "redis" and not name.endswith("_floor"):
            told(f"{kills} kills of {name}")
            try:
                yield name, _storm(place, kills)
            except RuntimeError as error:
                told(str(error))
                failed[f"{name}, kills"] = str(error)


def _storm(place: Place, kills: int) -> Storm:
    with tempfile.TemporaryDirectory() as name, server_for(place.subject, Path(name)) as variables:
        folder, trace, killed = Path(name), _Trace(Path(variables["BENCH_TRACE"])), []
        with _process(place, "feed", folder, variables) as feed:
            worker = _start(place, "worker", folder, variables)
            try:
                for number in range(kills):
                    _add(feed, number * BATCH)
                    half = trace.ends + BATCH // 2
                    trace.wait(lambda half=half: trace.ends >= half, HALF_S)  # type: ignore[misc]
                    killed.append(time.clock_gettime(time.CLOCK_MONOTONIC))
                    worker.kill()
                    worker.wait()
                    worker = _start(place, "worker", folder, variables)
                trace.wait(lambda: len(trace.ended) == kills * BATCH, PATIENCE_S)
            finally:
                worker.kill()
                worker.wait()
        return trace.storm(kills * BATCH, killed)


class _Trace:
    """The file of begins and ends, read as it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open(encoding="utf-8")
        self._began: list[tuple[int, float]] = []
        self._rest = ""
        self.ended: dict[int, list[float]] = {}
        self.ends = 0

    def wait(self, is_done: Callable[[], bool], patience_s: float) -> None:
        """Read until it is done, for so many seconds at most."""
        end = time.monotonic() + patience_s
        self._read()
        while not is_done() and time.monotonic() < end:
            time.sleep(TICK_S)
            self._read()

    def storm(self, tasks: int, killed: Sequence[float]) -> Storm:
        """Sum it up; the worker is gone."""
        self._read()
        self._file.close()
        backs, held = [], 0
        for before, kill in pairwise((0.0, *killed)):
            broken = {number for number, at in self._began if before < at < kill and not self._ended_by(number, kill)}
            held += len(broken)
            backs += [max((self.ended.get(number, [math.inf])[0] - kill for number in broken), default=0.0)]
        twice = sum(len(times) - 1 for times in self.ended.values())
        return Storm(len(killed), tasks, tasks - len(self.ended), twice, held, statistics.median(backs), max(backs))

    def _ended_by(self, number: int, moment: float) -> bool:
        return any(at < moment for at in self.ended.get(number, ()))

    def _read(self) -> None:
        text = self._rest + self._file.read()
        whole, _, self._rest = text.rpartition("\n")
        for line in whole.splitlines():
            what, number, at = line.split()
            if what == "begin":
                self._began.append((int(number), float(at)))
            else:
                self.ended.setdefault(int(number), []).append(float(at))
                self.ends += 1


def _add(feed: subprocess.Popen[str], first: int) -> None:
    if feed.stdin is None or feed.stdout is None:
        raise TypeError("the pipes of the client are missing")
    with contextlib.suppress(BrokenPipeError):
        feed.stdin.write(f"{first} {BATCH}\n")
        feed.stdin.flush()
    if not feed.stdout.readline():
        raise RuntimeError("its client ended while it added tasks")


@contextlib.contextmanager
def _process(place: Place, what: str, folder: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = _start(place, what, folder, variables)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _start(place: Place, what: str, folder: Path, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE if what == "feed" else subprocess.DEVNULL
    command = place.command(what, folder, 0)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=variables)
