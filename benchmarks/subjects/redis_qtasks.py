"""QTasks on redis://: one worker with 100 slots, results stored and published."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from _lateness import lateness
from _redis_subject import SLOTS, URL, AsyncQueue, ServerSpent, fill_apart, run, run_loop
from _redis_tasks import echo, nap, on_echo
from _subject import check_stored
from _wire import Wire

from qtasks.asyncio import QueueTasks
from qtasks_core.config import QueueConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILL = 500  # calls in one add_many
SPIN_S = 0.001
SHALLOW, DEEP, DEEP_RUNS = 1_000, 1_000_000, 20_000  # tasks that wait behind those that run, and how many run
PATIENCE_S = 120.0
PING_S = 0.3


class QTasks(AsyncQueue):
    async def open(self) -> None:
        self.app = new_app(self.url)
        self.tasks = {one.__name__: self.app.task(name=one.__name__)(one) for one in (echo, nap, spin)}

    async def close(self) -> None:
        await self.app.stop()

    async def add(self, name: str, number: int) -> object:
        return await self.tasks[name].add_task(number)

    async def add_many(self, name: str, numbers: range) -> None:
        for first in range(0, len(numbers), FILL):
            await self.tasks[name].add_many([(number,) for number in numbers[first : first + FILL]])

    async def ask(self, number: int) -> object:
        return await self.tasks["echo"].add_task(number).result(timeout=10)

    def work(self) -> None:
        app = new_app(self.url)
        for one in (echo, nap, spin):
            app.task(name=one.__name__)(one)
        app.run_forever()


async def spin(number: int) -> int:
    """Use a millisecond of CPU."""
    end = time.thread_time() + SPIN_S
    while time.thread_time() < end:
        pass
    return number


def new_app(url: str) -> QueueTasks:
    return QueueTasks(broker_url=url, config=QueueConfig(concurrency=SLOTS))


def drain(folder: Path, tasks: int) -> dict[str, float]:
    """Work until all results are stored: the worker ends when everything is written."""
    fill_apart(folder, tasks)
    wire = Wire(os.environ[URL])
    spent = _work(wire, tasks)
    figures = spent.figures(tasks)
    # Only final records expire.
    check_stored(min(tasks, wire.expiring()), tasks)
    return figures


def deep(folder: Path, _: int) -> dict[str, float]:
    """Compare what a task costs, worker and server together, with many waiting behind it and with few."""
    costs = []
    for waiting in (SHALLOW, DEEP):
        command = [sys.executable, __file__, "cost", "--folder", str(folder), "--tasks", str(waiting)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        costs.append(json.loads(done.stdout.splitlines()[-1])["us"])
        Wire(os.environ[URL]).ask("FLUSHALL")
    return {"deep_ratio": costs[1] / costs[0]}


def cost(folder: Path, waiting: int) -> dict[str, float]:
    fill_apart(folder, DEEP_RUNS + waiting)
    spent = _work(Wire(os.environ[URL]), DEEP_RUNS)
    figures = spent.figures(DEEP_RUNS)
    return {"us": figures["cpu_us"] + figures["redis_us"]}


def pair(folder: Path, tasks: int) -> dict[str, float]:
    """Compare the rate of two worker processes with that of one, with tasks that compute."""
    rates = [run_loop(_spins(folder, workers, tasks // 4)) for workers in (1, 2)]
    return {"pair_ratio": rates[1] / rates[0]}


def due(_: Path, tasks: int) -> dict[str, float]:
    return lateness(os.environ[URL], tasks)


def _work(wire: Wire, tasks: int) -> ServerSpent:
    """Run a worker until so many tasks have run and are written."""
    app, spent, done = new_app(os.environ[URL]), ServerSpent(wire), 0

    def hear() -> None:
        nonlocal done
        spent.begin()
        done += 1
        if done == tasks:
            app.core.stop_worker()

    on_echo.append(hear)
    app.task(name="echo")(echo)
    app.run_forever()
    return spent


async def _spins(folder: Path, workers: int, tasks: int) -> float:
    queue = QTasks(os.environ[URL])
    await queue.open()
    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(_worker(folder))
        end = time.monotonic() + PATIENCE_S
        while len(await queue.app.ping(PING_S)) != workers and time.monotonic() < end:
            pass
        start = time.perf_counter()
        added = await queue.tasks["spin"].add_many([(number,) for number in range(tasks)])
        await asyncio.gather(*(task.result(timeout=PATIENCE_S) for task in added))
        rate = tasks / (time.perf_counter() - start)
    await queue.close()
    return rate


@contextlib.contextmanager
def _worker(folder: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "worker", "--folder", str(folder)])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    run(QTasks, {"drain": drain, "deep": deep, "cost": cost, "pair": pair, "due": due})
