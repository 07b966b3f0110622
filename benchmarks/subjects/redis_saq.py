"""Saq on Redis: one worker with 100 slots; a job that lost its worker is retried ten seconds after its start.

As it comes, such a job is aborted (`retries=1`) and looked for once a minute.
"""

from __future__ import annotations

import importlib
from typing import Any

from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo, nap

TRIES = 100
SWEEP_S = 5
POLL_S = 0.001  # of the caller; half a second as it comes


class Saq(AsyncQueue):
    async def open(self) -> None:
        self._queue = _new_queue(self.url)
        await self._queue.connect()

    async def close(self) -> None:
        await self._queue.disconnect()

    async def add(self, name: str, number: int) -> object:
        return await self._queue.enqueue(name, number=number, retries=TRIES)

    async def ask(self, number: int) -> object:
        return await self._queue.apply("echo", number=number, retries=TRIES, poll_interval=POLL_S)

    def stored(self, wire: Any, tasks: int) -> int:
        return tasks - int(wire.ask("ZCARD", "saq:default:incomplete"))

    def work(self) -> None:
        run_loop(self._work())

    async def _work(self) -> None:
        queue = _new_queue(self.url)
        await queue.connect()
        functions = [("echo", _echo), ("nap", _nap)]
        worker = importlib.import_module("saq").Worker(
            queue, functions, concurrency=SLOTS, timers={"sweep": SWEEP_S}, shutdown_grace_period_s=5
        )
        await worker.start()


async def _echo(_: Any, *, number: int) -> int:
    return await echo(number)


async def _nap(_: Any, *, number: int) -> int:
    return await nap(number)


def _new_queue(url: str) -> Any:
    return importlib.import_module("saq").Queue.from_url(url)


if __name__ == "__main__":
    run(Saq)
