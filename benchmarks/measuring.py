"""Runs subjects round by round, each measure in a process and a folder of its own, with its own server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from environments import CannotMakeError, python_with, version_in
from subject_list import RATES

from qtasks_testing.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

    from subject_list import Subject

__all__ = ["Place", "Round", "prepare", "run_rounds", "server_for"]

HERE = Path(__file__).parent
TIMEOUT_S = 600
DUE = 1000  # tasks that are due at random times; their number makes the times, so it is not the caller's choice

Round = dict[str, dict[str, float]]  # subject: figure: value


class Place(NamedTuple):
    """A subject that can be measured, the Python that has its distribution, and the version of that."""

    subject: Subject
    python: str
    version: str

    def command(self, measure: str, folder: Path, tasks: int) -> list[str]:
        """Return the command that takes a measure."""
        program = str(HERE / "subjects" / f"{self.subject.name}.py")
        return [self.python, program, measure, "--folder", str(folder), "--tasks", str(tasks)]


def prepare(subjects: Sequence[Subject], told: Callable[[str], None]) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the subjects that can be measured, by name, and why the others cannot.

    Parameters:
        subjects: Those that are wanted.
        told: Hears what is installed.
    """
    places, absent = {}, {}
    for subject in subjects:
        try:
            python = python_with(subject.name, subject.needs, told) if subject.needs else sys.executable
            version = version_in(python, subject.distribution)
        except CannotMakeError as error:
            absent[subject.name] = str(error)
        else:
            if version is None:
                absent[subject.name] = f"{subject.distribution} is not installed"
            else:
                places[subject.name] = Place(subject, python, version)
        if subject.name in absent:
            told(f"{subject.name} is left out: {absent[subject.name]}")
    return places, absent


def run_rounds(
    places: Mapping[str, Place],
    rounds: int,
    tasks: int,
    trips: int,
    *,
    told: Callable[[str], None],
    failed: MutableMapping[str, str],
) -> Iterator[Round]:
    """Measure all subjects once a round.

    Parameters:
        places: The subjects.
        rounds: How many.
        tasks: In each measure of a rate.
        trips: Round trips.
        told: Hears what is measured.
        failed: Gets the last words of a measure that failed.
    """
    for number in range(1, rounds + 1):
        one: Round = {}
        measures = dict.fromkeys(measure for place in places.values() for measure in place.subject.measures)
        for measure in measures:
            for name, place in places.items():
                if measure in place.subject.measures:
                    told(f"round {number} of {rounds}: {measure} of {name}")
                    count = {"round_trip": trips, "due": DUE}.get(measure, tasks)
                    count *= place.subject.fill if measure in RATES else 1
                    try:
                        one.setdefault(name, {}).update(_measure(place, measure, count))
                    except RuntimeError as error:
                        told(str(error))
                        failed[f"{name}, {measure}"] = str(error).splitlines()[-1]
        yield one


@contextlib.contextmanager
def server_for(subject: Subject, folder: Path) -> Iterator[dict[str, str]]:
    """Run the server that a subject needs; yield the variables that name it."""
    if subject.server != "redis":
        yield dict(os.environ)
        return
    with RedisServer(folder / "server") as server:
        yield {**os.environ, "BENCH_REDIS": server.url, "BENCH_TRACE": str(folder / "trace")}


def _measure(place: Place, measure: str, tasks: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, server_for(place.subject, Path(name)) as variables:
        command = place.command(measure, Path(name), tasks)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=variables
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{measure} of {place.subject.name} took more than {TIMEOUT_S} s") from None
    if done.returncode:
        raise RuntimeError(f"{measure} of {place.subject.name} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
