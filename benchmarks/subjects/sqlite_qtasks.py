"""QTasks on sqlite://: one worker with 100 slots, results stored, synchronous = FULL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from _lateness import lateness
from _subject import IN_FLIGHT, Spent, check_stored, main, round_trips

from qtasks.asyncio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_sqlite._rows import SETTLED

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 100
FILL = 500  # calls in one add_many


def enqueue(folder: Path, tasks: int) -> dict[str, float]:
    """Single calls, so many in flight."""
    return asyncio.run(_enqueue(_app(folder), tasks))


def enqueue_many(folder: Path, tasks: int) -> dict[str, float]:
    return {"bulk_per_s": tasks / asyncio.run(_fill(_app(folder), tasks))}


def drain(folder: Path, tasks: int) -> dict[str, float]:
    asyncio.run(_fill(_app(folder), tasks))
    app, spent, done = _app(folder), Spent(), 0

    @app.task(name="counted")
    async def counted(number: int) -> int:
        nonlocal done
        spent.begin()
        done += 1
        if done == tasks:
            app.core.stop_worker()  # it ends when everything is written
        return number

    app.run_forever()
    figures = spent.figures(tasks)
    check_stored(_stored(folder), tasks)
    return figures


def round_trip(folder: Path, tasks: int) -> dict[str, float]:
    with asyncio.Runner() as runner:
        app = _app(folder)
        echo = app.task(name="echo")(_echo)

        async def ask(number: int) -> int:
            return await echo.add_task(number).result(timeout=30)

        figures = round_trips(folder, tasks, lambda number: runner.run(ask(number)))
        runner.run(app.stop())
    return figures


def due(folder: Path, tasks: int) -> dict[str, float]:
    return lateness(_url(folder), tasks)


def worker(folder: Path, _: int) -> None:
    app = _app(folder)
    app.task(name="echo")(_echo)
    app.run_forever()


async def _echo(number: int) -> int:
    return number


def _app(folder: Path) -> QueueTasks:
    return QueueTasks(broker_url=_url(folder), config=QueueConfig(concurrency=SLOTS))


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/qtasks.db"


async def _enqueue(app: QueueTasks, tasks: int) -> dict[str, float]:
    numbers = iter(range(tasks))

    async def caller() -> None:
        for number in numbers:
            await app.add_task("counted", number)

    await app.add_task("counted", 0)
    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - start
    await app.stop()
    return {"enqueue_per_s": tasks / seconds}


def _stored(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "qtasks.db")) as connection:
        return int(connection.execute("SELECT count(record) FROM tasks WHERE state = ?", (SETTLED,)).fetchone()[0])


async def _fill(app: QueueTasks, tasks: int) -> float:
    @app.task(name="counted")
    async def counted(number: int) -> int:
        return number

    await counted.add_task(0)
    start = time.perf_counter()
    for first in range(0, tasks - 1, FILL):
        await counted.add_many([(number,) for number in range(first, min(first + FILL, tasks - 1))])
    seconds = time.perf_counter() - start
    await app.stop()
    return seconds


if __name__ == "__main__":
    main(
        {
            "enqueue": enqueue,
            "enqueue_many": enqueue_many,
            "drain": drain,
            "round_trip": round_trip,
            "due": due,
            "worker": worker,
        }
    )
