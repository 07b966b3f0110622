"""What the subjects on Redis have in common: how each is pressed, and what the server tells of it.

A subject fills in `AsyncQueue` or `BlockingQueue` the way its own documentation says, and calls `run()`. The program
knows the server by the variable BENCH_REDIS; a server belongs to one measure and is empty when that begins.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from _redis_tasks import on_echo
from _subject import IN_FLIGHT, Spent, add_from_threads, check_stored, main, round_trips
from _wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

__all__ = ["SLOTS", "THREADS", "URL", "AsyncQueue", "BlockingQueue", "Queue", "ServerSpent", "run", "run_loop"]

URL = "BENCH_REDIS"
SLOTS = 100
THREADS = 8
FEED = 100  # tasks added together to a worker that is being killed
PATIENCE_S = 10.0

Figures = dict[str, float]
T = TypeVar("T")


class Queue(ABC):
    """A queue as its client and its worker see it.

    Parameters:
        url: The server's.
    """

    results: ClassVar[str] = ""
    """The pattern of the keys that hold results, as SCAN reads it; one key a task."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stored(self, wire: Wire, tasks: int) -> int:  # noqa: ARG002  # some see only what is left of the tasks
        """Return how many results are stored."""
        return wire.count(self.results)

    @abstractmethod
    def work(self) -> None:
        """Run a worker until a signal ends it."""

    @abstractmethod
    def single_calls(self, tasks: int) -> float:
        """Add one echo a call, `IN_FLIGHT` calls at a time; return the calls a second."""

    @abstractmethod
    def fill(self, name: str, numbers: range) -> float:
        """Add tasks in the best way there is; return the seconds, without those of the connect."""

    @abstractmethod
    def round_trips(self, folder: Path, tasks: int) -> Figures:
        """Ask for echoes one by one."""


class AsyncQueue(Queue):
    """A queue whose client is asyncio's."""

    async def open(self) -> None:
        """Connect the client."""

    async def close(self) -> None:
        """Disconnect the client."""

    @abstractmethod
    async def add(self, name: str, number: int) -> object:
        """Add a task by one call."""

    async def add_many(self, name: str, numbers: range) -> object:
        """Add tasks; single calls in flight, where there is no better way."""
        await in_flight(lambda number: self.add(name, number), numbers)
        return None

    @abstractmethod
    async def ask(self, number: int) -> object:
        """Add an echo and return its result."""

    def single_calls(self, tasks: int) -> float:
        return run_loop(self._single_calls(tasks))

    def fill(self, name: str, numbers: range) -> float:
        return run_loop(self._fill(name, numbers))

    def round_trips(self, folder: Path, tasks: int) -> Figures:
        with new_runner() as runner:
            runner.run(self.open())
            figures = round_trips(folder, tasks, lambda number: runner.run(self.ask(number)), _watch)
            runner.run(self.close())
        return figures

    async def _single_calls(self, tasks: int) -> float:
        await self.open()
        await in_flight(lambda number: self.add("echo", number), range(IN_FLIGHT))  # connections, scripts
        start = time.perf_counter()
        await in_flight(lambda number: self.add("echo", number), range(tasks))
        rate = tasks / (time.perf_counter() - start)
        await self.close()
        return rate

    async def _fill(self, name: str, numbers: range) -> float:
        await self.open()
        await self.add_many(name, numbers[:1])
        start = time.perf_counter()
        await self.add_many(name, numbers[1:])
        seconds = time.perf_counter() - start
        await self.close()
        return seconds


class BlockingQueue(Queue):
    """A queue whose client blocks."""

    @abstractmethod
    def add(self, name: str, number: int) -> object:
        """Add a task by one call."""

    @abstractmethod
    def ask(self, number: int) -> object:
        """Add an echo and return its result."""

    def add_many(self, name: str, numbers: range) -> object:
        """Add tasks one by one, where there is no better way."""
        return [self.add(name, number) for number in numbers]

    def single_calls(self, tasks: int) -> float:
        return add_from_threads(lambda number: self.add("echo", number), tasks)["enqueue_per_s"]

    def fill(self, name: str, numbers: range) -> float:
        self.add_many(name, numbers[:1])
        start = time.perf_counter()
        self.add_many(name, numbers[1:])
        return time.perf_counter() - start

    def round_trips(self, folder: Path, tasks: int) -> Figures:
        return round_trips(folder, tasks, self.ask, _watch)


class ServerSpent(Spent):
    """The clocks of a drain, and those of the server."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self._before: tuple[float, int] | None = None

    def begin(self) -> None:
        if self._before is None:
            self._before = self._wire.cpu_s(), self._wire.commands()
        super().begin()

    def figures(self, tasks: int) -> Figures:
        figures = super().figures(tasks)
        cpu_s, commands = self._before or (0.0, 0)
        redis_us = (self._wire.cpu_s() - cpu_s) / tasks * 1e6
        return {**figures, "redis_us": redis_us, "commands": (self._wire.commands() - commands) / tasks}


def run(kind: type[Queue], more: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Run the measure that the command line names.

    Parameters:
        kind: The queue's class.
        more: Measures that it has besides those of all, or instead of them.
    """
    logging.disable(logging.WARNING)  # quiet: log lines cost peers up to a fifth
    url = os.environ[URL]
    measures: dict[str, Callable[..., Any]] = {
        "enqueue": lambda _, tasks: {"enqueue_per_s": kind(url).single_calls(tasks)},
        "bulk": lambda _, tasks: _bulk(kind(url), tasks),
        "fill": lambda _, tasks: print(kind(url).fill("echo", range(tasks))),
        "feed": lambda _folder, _tasks: _feed(kind(url)),
        "drain": lambda folder, tasks: _drain(kind(url), folder, tasks),
        "round_trip": lambda folder, tasks: kind(url).round_trips(folder, tasks),
        "worker": lambda _folder, _tasks: kind(url).work(),
    }
    main({**measures, **(more or {})})


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* on the fastest loop there is, as each of these queues advises."""
    with new_runner() as runner:
        return runner.run(work)


def new_runner() -> asyncio.Runner:
    """Return a runner on uvloop, where it is installed."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def in_flight(call: Callable[[int], Any], numbers: Iterable[int]) -> None:
    """Make one call for each number, so many at a time."""
    left = iter(numbers)

    async def caller() -> None:
        for number in left:
            await call(number)

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))


def fill_apart(folder: Path, tasks: int) -> None:
    """Let a process of its own add the tasks: what it holds is not the worker's."""
    command = [sys.executable, sys.argv[0], "fill", "--folder", str(folder), "--tasks", str(tasks)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _bulk(queue: Queue, tasks: int) -> Figures:
    queue.fill("echo", range(2))  # what there is once: groups, scripts, registrations
    wire = Wire(queue.url)
    before = wire.memory()
    seconds = queue.fill("echo", range(tasks))
    held = wire.memory() - before
    return {"bulk_per_s": (tasks - 1) / seconds, "waiting_mb": held / tasks * 10_000 / 1e6}


def _drain(queue: Queue, folder: Path, tasks: int) -> None:
    """Work until the last task has run; then, while the worker goes on, check that all results come to be stored."""
    fill_apart(folder, tasks)
    wire, lock, done = Wire(queue.url), threading.Lock(), 0
    spent = ServerSpent(wire)

    def hear() -> None:
        nonlocal done
        with lock:
            spent.begin()
            done += 1
            if done == tasks:
                figures = spent.figures(tasks)
                threading.Thread(target=_conclude, args=(figures, wire, queue, tasks)).start()

    on_echo.append(hear)
    queue.work()


def _conclude(figures: Figures, wire: Wire, queue: Queue, tasks: int) -> None:
    """Print the figures and leave, whatever the worker is about: its server ends with this measure."""
    try:
        end = time.monotonic() + PATIENCE_S
        while (stored := queue.stored(wire, tasks)) < tasks and time.monotonic() < end:
            time.sleep(0.05)
        check_stored(stored, tasks)
        print(json.dumps(figures), flush=True)
        os._exit(0)
    except Exception as error:  # noqa: BLE001  # a thread's exception would be lost, and the worker would run on
        print(error, file=sys.stderr, flush=True)
        os._exit(1)


def _feed(queue: Queue) -> None:
    """Add as many naps as each line of standard input says; answer each."""
    for line in sys.stdin:
        first, count = map(int, line.split())
        queue.fill("nap", range(first, first + count))
        print("added", flush=True)


def _watch(seconds: float) -> Figures:
    wire = Wire(os.environ[URL])
    try:
        return {"idle_commands": wire.watch(seconds) / seconds}
    finally:
        wire.close()
