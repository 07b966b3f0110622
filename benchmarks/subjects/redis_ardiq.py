"""Ardiq on Redis streams, with its core in Rust: one worker with 100 slots, results stored.

What a lost worker held is claimed when it has been idle for ten seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
from typing import Any

from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo, nap

IDLE_MS = 10_000
TRIES = 100
FILL = 500  # tasks in one call


class Ardiq(AsyncQueue):
    results = "ardiq:default:task:results:*"

    async def open(self) -> None:
        self._app, self._tasks = _new_app(self.url)

    async def add(self, name: str, number: int) -> object:
        return await self._tasks[name].enqueue(number)

    async def add_many(self, name: str, numbers: range) -> object:
        for first in range(0, len(numbers), FILL):
            some = numbers[first : first + FILL]
            await self._app.enqueue_many([self._tasks[name].prepare(number) for number in some])
        return None

    async def ask(self, number: int) -> object:
        job = await self._tasks["echo"].enqueue(number)
        return (await job.result(timeout=10)).value

    def work(self) -> None:
        run_loop(self._work())

    async def _work(self) -> None:
        app, _ = _new_app(self.url)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop)
        await app.run()


def _new_app(url: str) -> tuple[Any, dict[str, Any]]:
    app = importlib.import_module("ardiq").Ardiq(redis_url=url, concurrency=SLOTS, idle_timeout_ms=IDLE_MS)
    return app, {one.__name__: app.task(one, name=one.__name__, max_retries=TRIES) for one in (echo, nap)}


if __name__ == "__main__":
    run(Ardiq)
