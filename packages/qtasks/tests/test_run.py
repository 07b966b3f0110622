"""`qtasks run` with a durable queue: processes that replace each other lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qtasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qtasks_testing import WorkerProcess

    StartWorker = Callable[..., WorkerProcess]

APP = """import os
from qtasks import QueueTasks

app = QueueTasks("shop", "sqlite:///queue.db")

@app.task
def who(number: int) -> tuple[int, int]:
    return number, os.getpid()
"""


def test_workers_that_have_done_enough_are_replaced(worker_process: StartWorker, tmp_path: Path) -> None:
    """--processes 1 --max-tasks 5: process after process, each with its share; every task runs, once."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    worker = worker_process("shop", processes=1, concurrency=1, arguments=["--max-tasks", "5"])
    app = qtasks.QueueTasks("shop", f"sqlite:///{tmp_path / 'queue.db'}")
    tasks = [app.add_task("who", number) for number in range(20)]
    answers = [task.result(timeout=40) for task in tasks]
    app.stop()

    assert list(range(20)) == [number for number, _ in answers]
    shares = [[pid for _, pid in answers].count(pid) for pid in {pid for _, pid in answers}]
    assert 3 <= len(shares) <= 4
    assert all(share <= 6 for share in shares)
    assert "5 tasks have run here (max-tasks 5): a restart is due" in worker.log
    assert 0 == worker.stop()


def test_without_a_supervisor_the_exit_code_asks_for_the_next(worker_process: StartWorker, tmp_path: Path) -> None:
    """75, for systemd or a container to start it again."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    worker = worker_process("shop", arguments=["--max-tasks", "1"])
    app = qtasks.QueueTasks("shop", f"sqlite:///{tmp_path / 'queue.db'}")
    assert 1 == app.add_task("who", 1).result(timeout=20)[0]
    app.stop()

    assert 75 == worker.wait()
