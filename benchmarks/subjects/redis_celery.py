"""Celery on Redis: eight threads, acknowledged after the run, results stored.

What a lost worker held is queued again ten seconds after it was taken (`visibility_timeout`, an hour as it comes).
"""

from __future__ import annotations

import importlib
from typing import Any

from _redis_subject import THREADS, BlockingQueue, run
from _redis_tasks import echo_in_thread, nap_in_thread

VISIBLE_S = 10
WORKER = ("--quiet", "worker", "--pool=threads", f"--concurrency={THREADS}", "--without-gossip", "--without-mingle")


class Celery(BlockingQueue):
    results = "celery-task-meta-*"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._app, self._tasks = _new_app(url)

    def add(self, name: str, number: int) -> object:
        return self._tasks[name].delay(number)

    def add_many(self, name: str, numbers: range) -> object:
        """Add tasks over one connection, as a group does."""
        task = self._tasks[name]
        with self._app.producer_or_acquire() as producer:
            return [task.apply_async((number,), producer=producer) for number in numbers]

    def ask(self, number: int) -> object:
        return self._tasks["echo"].delay(number).get(timeout=10)

    def work(self) -> None:
        self._app.worker_main([*WORKER, "--loglevel=ERROR"])


def _new_app(url: str) -> tuple[Any, dict[str, Any]]:
    app = importlib.import_module("celery").Celery("bench", broker=url, backend=url)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options={"visibility_timeout": VISIBLE_S},
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    tasks = {
        name: app.task(function, name=name) for name, function in (("echo", echo_in_thread), ("nap", nap_in_thread))
    }
    return app, tasks


if __name__ == "__main__":
    run(Celery)
