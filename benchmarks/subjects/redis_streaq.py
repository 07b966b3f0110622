"""Streaq on Redis streams: one worker with 100 slots, results stored.

What a lost worker held is claimed when it has been idle for ten seconds (sixty as it comes).
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo, nap

IDLE_S = 10
TRIES = 100
FILL = 500  # tasks in one pipeline


class Streaq(AsyncQueue):
    results = "streaq:default:task:results:*"

    async def open(self) -> None:
        """Let a task of its own hold the connections: they must be closed by the task that opened them."""
        self._worker, self._tasks = _new_worker(self.url)
        self._opened, self._may_close = asyncio.Event(), asyncio.Event()
        self._holder = asyncio.create_task(self._hold())
        await self._opened.wait()

    async def _hold(self) -> None:
        async with self._worker:
            self._opened.set()
            await self._may_close.wait()

    async def close(self) -> None:
        self._may_close.set()
        await self._holder

    async def add(self, name: str, number: int) -> object:
        return await self._tasks[name].enqueue(number)

    async def add_many(self, name: str, numbers: range) -> object:
        for first in range(0, len(numbers), FILL):
            some = numbers[first : first + FILL]
            await self._worker.enqueue_many([self._tasks[name].enqueue(number) for number in some])
        return None

    async def ask(self, number: int) -> object:
        task = await self._tasks["echo"].enqueue(number)
        return (await task.result(10)).result

    def work(self) -> None:
        worker, _ = _new_worker(self.url)
        run_loop(worker.run_async())


def _new_worker(url: str) -> tuple[Any, dict[str, Any]]:
    worker = importlib.import_module("streaq").Worker(redis_url=url, concurrency=SLOTS, idle_timeout=IDLE_S)
    return worker, {one.__name__: worker.task(name=one.__name__, max_tries=TRIES)(one) for one in (echo, nap)}


if __name__ == "__main__":
    run(Streaq)
