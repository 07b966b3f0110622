"""The core alone: memory:// costs next to nothing, so what is left is the way of a task through engine and worker."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from _subject import IN_FLIGHT, Spent, main

from qtasks.asyncio import QueueTasks
from qtasks_core.config import QueueConfig

if TYPE_CHECKING:
    from pathlib import Path

FILL = 500  # calls at once; tasks are a multiple of it


def single_calls(_: Path, tasks: int) -> dict[str, float]:
    """Await single calls, so many in flight."""

    async def add() -> float:
        app, numbers = _app(), iter(range(tasks))

        async def caller() -> None:
            for number in numbers:
                await app.add_task("counted", number)

        await app.add_task("counted", 0)
        start = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
        seconds = time.perf_counter() - start
        await app.stop()
        return seconds

    return {"us": asyncio.run(add()) / tasks * 1e6}


def async_tasks(_: Path, tasks: int) -> dict[str, float]:
    """Work off tasks that are coroutines."""
    app, count = _app(), Count(tasks)

    @app.task
    async def counted(number: int) -> int:
        count.add(app)
        return number

    return drain(app, count)


def thread_tasks(_: Path, tasks: int) -> dict[str, float]:
    """Work off tasks that are plain functions."""
    app, count = _app(), Count(tasks)

    @app.task
    def counted(number: int) -> int:
        count.add(app)
        return number

    return drain(app, count)


class Count:
    """Starts the clock with the first task, and stops the worker with the last."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.spent = Spent()
        self._left = itertools.count(tasks - 1, -1)

    def add(self, app: QueueTasks) -> None:
        """Count one task that runs, perhaps in a thread."""
        self.spent.begin()
        if next(self._left) == 0:
            app.core.stop_worker()


def drain(app: QueueTasks, count: Count) -> dict[str, float]:
    """Add tasks named `counted`, work them off, and return what one of them takes."""

    async def fill() -> None:
        for _ in range(0, count.tasks, FILL):
            await asyncio.gather(*(app.add_task("counted", number) for number in range(FILL)))

    asyncio.run(fill())
    app.run_forever()
    figures = count.spent.figures(count.tasks)
    return {"us": 1e6 / figures["drain_per_s"], "cpu_us": figures["cpu_us"]}


def _app() -> QueueTasks:
    return QueueTasks(broker_url="memory://", config=QueueConfig(concurrency=100))


if __name__ == "__main__":
    main({"single_calls": single_calls, "async_tasks": async_tasks, "thread_tasks": thread_tasks})
