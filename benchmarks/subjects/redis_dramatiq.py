"""Dramatiq on Redis: eight threads, results stored; acknowledged after the run, as it always is.

What a lost worker held is queued again when it has not been heard of for ten seconds (sixty as it comes); the chance
that a command looks for that is as it comes.
"""

from __future__ import annotations

import importlib
import signal
import threading
from typing import Any

from _redis_subject import THREADS, BlockingQueue, run
from _redis_tasks import echo_in_thread, nap_in_thread

SILENT_MS = 10_000


class Dramatiq(BlockingQueue):
    results = "dramatiq-results:*"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._broker, self._actors = _new_broker(url)

    def add(self, name: str, number: int) -> object:
        return self._actors[name].send(number)

    def ask(self, number: int) -> object:
        return self._actors["echo"].send(number).get_result(block=True, timeout=10_000)

    def work(self) -> None:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        worker = importlib.import_module("dramatiq").Worker(self._broker, worker_threads=THREADS)
        worker.start()
        stop.wait()
        worker.stop()


def _new_broker(url: str) -> tuple[Any, dict[str, Any]]:
    dramatiq = importlib.import_module("dramatiq")
    broker = importlib.import_module("dramatiq.brokers.redis").RedisBroker(url=url, heartbeat_timeout=SILENT_MS)
    backend = importlib.import_module("dramatiq.results.backends").RedisBackend(url=url, use_namespace_prefix_keys=True)
    dramatiq.set_broker(broker)  # where messages look for their results
    broker.add_middleware(importlib.import_module("dramatiq.results").Results(backend=backend, store_results=True))
    actors = {
        name: dramatiq.actor(function, actor_name=name, broker=broker, max_retries=100)
        for name, function in (("echo", echo_in_thread), ("nap", nap_in_thread))
    }
    return broker, actors


if __name__ == "__main__":
    run(Dramatiq)
