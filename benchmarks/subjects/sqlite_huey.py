"""Huey on SQLite: eight threads, results stored, fsync on."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any

from _subject import Spent, add_from_threads, check_stored, main, round_trips

if TYPE_CHECKING:
    from pathlib import Path

THREADS = 8


def enqueue(folder: Path, tasks: int) -> dict[str, float]:
    return add_from_threads(_echo_task(_huey(folder)), tasks)


def drain(folder: Path, tasks: int) -> dict[str, float]:
    huey, spent, done, lock, finished = _huey(folder), Spent(), 0, threading.Lock(), threading.Event()

    @huey.task()  # type: ignore[untyped-decorator]
    def echo(number: int) -> int:
        nonlocal done
        with lock:
            spent.begin()
            done += 1
            if done == tasks:
                finished.set()
        return number

    for number in range(tasks):
        echo(number)
    consumer = huey.create_consumer(workers=THREADS, periodic=False)
    consumer.start()
    finished.wait()
    figures = spent.figures(tasks)
    consumer.stop(graceful=True)
    check_stored(huey.result_count(), tasks)
    return figures


def round_trip(folder: Path, tasks: int) -> dict[str, float]:
    echo = _echo_task(_huey(folder))
    return round_trips(folder, tasks, lambda number: echo(number).get(blocking=True, timeout=30))


def worker(folder: Path, _: int) -> None:
    huey = _huey(folder)
    _echo_task(huey)
    huey.create_consumer(workers=THREADS, periodic=False, graceful_signal="TERM").run()


def _echo_task(huey: Any) -> Any:
    @huey.task(name="echo")  # type: ignore[untyped-decorator]
    def echo(number: int) -> int:
        return number

    return echo


def _huey(folder: Path) -> Any:
    return importlib.import_module("huey").SqliteHuey("bench", filename=str(folder / "huey.db"), fsync=True)


if __name__ == "__main__":
    main({"enqueue": enqueue, "drain": drain, "round_trip": round_trip, "worker": worker})
