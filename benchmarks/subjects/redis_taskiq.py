"""Taskiq on Redis streams: one worker with 100 slots, acknowledged when the result is stored.

Entries of a lost worker are claimed when they have been idle for ten seconds (ten minutes as it comes), and the lock of
the claim expires, so that a kill in the middle of it does not leave it held for ever.
"""

from __future__ import annotations

import importlib
from typing import Any

from _redis_subject import SLOTS, AsyncQueue, run, run_loop
from _redis_tasks import echo, nap

CLAIM_MS = 10_000
LOCK_S = 10.0
POLL_S = 0.001  # of the caller; 0.2 s as it comes


class Taskiq(AsyncQueue):
    results = "result:*"

    async def open(self) -> None:
        self._broker, self._tasks = _new_broker(self.url)
        await self._broker.startup()

    async def close(self) -> None:
        await self._broker.shutdown()

    async def add(self, name: str, number: int) -> object:
        return await self._tasks[name].kiq(number)

    async def ask(self, number: int) -> object:
        task = await self._tasks["echo"].kiq(number)
        return (await task.wait_result(check_interval=POLL_S, timeout=10)).return_value

    def work(self) -> None:
        run_loop(self._work())

    async def _work(self) -> None:
        broker, _ = _new_broker(self.url)
        receiver = importlib.import_module("taskiq.api.receiver")
        await receiver.run_receiver_task(broker, max_async_tasks=SLOTS, run_startup=True)


def _new_broker(url: str) -> tuple[Any, dict[str, Any]]:
    redis = importlib.import_module("taskiq_redis")
    results = redis.RedisAsyncResultBackend(url, prefix_str="result", result_ex_time=86_400)
    broker = redis.RedisStreamBroker(
        url,
        consumer_id="0",  # what was added before the first worker came is read too
        idle_timeout=CLAIM_MS,
        unacknowledged_lock_timeout=LOCK_S,
        xread_count=SLOTS,
    ).with_result_backend(results)
    functions = {"echo": echo, "nap": nap}  # taskiq renames a function when it decorates it
    return broker, {name: broker.task(task_name=name)(function) for name, function in functions.items()}


if __name__ == "__main__":
    run(Taskiq)
