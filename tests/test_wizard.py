"""The wizard keeps its visitors apart, counts a double click once, and goes on where a form was left."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qtasks import QueueTasks
from qtasks.exceptions import TaskFailedError
from qtasks_testing.processes import WorkerProcess

VISITORS = ("ann", "bob", "cleo", "dan")


@pytest.mark.timeout(120)
def test_visitors_fill_in_the_form_at_the_same_time(
    root: Path, tmp_path: Path, worker_process: Callable[..., WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two worker processes; what one lacks is an error, after which it may go on; confirmed twice is one order."""
    monkeypatch.setenv("PYTHONPATH", str(root / "examples"))
    monkeypatch.chdir(tmp_path)
    worker = worker_process("wizard.tasks:app", processes=2)
    command = [sys.executable, "-m", "wizard.visit", *VISITORS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert [
        f"{visitor.title()}, Main Street, Springfield: 2 coupons, 2 pages, 2 of 3 clicks counted"
        for visitor in VISITORS
    ] == done.stdout.splitlines()

    with QueueTasks("wizard") as client:
        client.add_task("begin", "eve", "Eve").result(timeout=60)
        with pytest.raises(TaskFailedError, match="the form of eve lacks address"):
            client.add_task("confirm", "eve").result(timeout=60)
        client.add_task("address", "eve", {"street": "Side Street", "town": "Ogdenville"}).result(timeout=60)
        twice = [client.add_task("confirm", "eve").result(timeout=60) for _ in range(2)]
    assert ["Eve, Side Street, Ogdenville: 0 coupons"] * 2 == twice
    assert 0 == worker.stop()

    orders = sqlite3.connect(tmp_path / "shop.db").execute("SELECT name, coupons FROM orders ORDER BY name").fetchall()
    assert [*[(visitor.title(), "FREE TEN") for visitor in VISITORS], ("Eve", "")] == orders
