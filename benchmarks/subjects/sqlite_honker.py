"""Honker, whose core is Rust: eight workers on one loop, results stored, synchronous = NORMAL as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

from _subject import Spent, add_from_threads, check_stored, main, round_trips

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = 8


def enqueue(folder: Path, tasks: int) -> dict[str, float]:
    return add_from_threads(_echo_task(_open(folder)), tasks)


def drain(folder: Path, tasks: int) -> dict[str, float]:
    database, spent, done = _open(folder), Spent(), 0
    stop = asyncio.Event()

    @database.task(name="echo")  # type: ignore[untyped-decorator]
    async def echo(number: int) -> int:
        nonlocal done
        spent.begin()
        done += 1
        if done == tasks:
            stop.set()
        return number

    for number in range(tasks):
        echo(number)

    async def work() -> dict[str, float]:
        running = asyncio.create_task(database.run_workers(concurrency=WORKERS, stop_event=stop))
        await stop.wait()
        figures = spent.figures(tasks)
        await running
        return figures

    figures = asyncio.run(work())
    with contextlib.closing(sqlite3.connect(folder / "honker.db")) as connection:
        check_stored(int(connection.execute("SELECT count(*) FROM _honker_results").fetchone()[0]), tasks)
    return figures


def round_trip(folder: Path, tasks: int) -> dict[str, float]:
    echo = _echo_task(_open(folder))
    with asyncio.Runner() as runner:
        return round_trips(folder, tasks, lambda number: runner.run(echo(number).aget(timeout=30)))


def worker(folder: Path, _: int) -> None:
    database = _open(folder)
    _echo_task(database)

    async def work() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await database.run_workers(concurrency=WORKERS, stop_event=stop)

    asyncio.run(work())


def _echo_task(database: Any) -> Any:
    @database.task(name="echo")  # type: ignore[untyped-decorator]
    async def echo(number: int) -> int:
        return number

    return echo


def _open(folder: Path) -> Any:
    return importlib.import_module("honker").open(str(folder / "honker.db"))


if __name__ == "__main__":
    main({"enqueue": enqueue, "drain": drain, "round_trip": round_trip, "worker": worker})
