"""Arq on Redis: one worker with 100 slots, results stored.

A job that lost its worker runs again when its `job_timeout` and ten seconds more are over: 11 seconds here, 310 as it
comes. The worker looks for jobs each half second, as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import Any

from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo, nap

JOB_S = 1
TRIES = 100
POLL_S = 0.001  # of the caller; half a second as it comes


class Arq(AsyncQueue):
    results = "arq:result:*"

    async def open(self) -> None:
        self._pool = await importlib.import_module("arq").create_pool(_settings(self.url))

    async def close(self) -> None:
        await self._pool.aclose()

    async def add(self, name: str, number: int) -> object:
        return await self._pool.enqueue_job(name, number)

    async def ask(self, number: int) -> object:
        job = await self._pool.enqueue_job("echo", number)
        return await job.result(timeout=10, poll_delay=POLL_S)

    def work(self) -> None:
        run_loop(self._work())

    async def _work(self) -> None:
        arq = importlib.import_module("arq.worker")
        functions = [arq.func(_echo, name="echo"), arq.func(_nap, name="nap")]
        settings = _settings(self.url)
        worker = arq.Worker(
            functions, redis_settings=settings, max_jobs=SLOTS, job_timeout=JOB_S, max_tries=TRIES, log_results=False
        )
        with contextlib.suppress(asyncio.CancelledError):  # by its own handler of signals
            await worker.async_run()


async def _echo(_: Any, number: int) -> int:
    return await echo(number)


async def _nap(_: Any, number: int) -> int:
    return await nap(number)


def _settings(url: str) -> Any:
    return importlib.import_module("arq.connections").RedisSettings.from_dsn(url)


if __name__ == "__main__":
    run(Arq)
