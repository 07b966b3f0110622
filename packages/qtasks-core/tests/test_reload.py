"""`qtasks run --reload`: a real supervisor, real workers, and files that change."""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from qtasks_core.blocking import QueueTasks
from qtasks_core.cli.group import qtasks
from qtasks_core.reloading import SourceWatch
from qtasks_testing import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qtasks_testing import WorkerProcess

    StartWorker = Callable[..., WorkerProcess]

APP = """import os
from qtasks_core.blocking import QueueTasks

app = QueueTasks("shop", "memory://")
open("versions", "a").write("VERSION ")
"""


@pytest.fixture
def _watchfiles() -> None:
    pytest.importorskip("watchfiles", reason="needs the extra `reload`")


def write(folder: Path, version: str) -> None:
    (folder / "shop.py").write_text(APP.replace("VERSION", version), encoding="utf-8")


def versions(folder: Path) -> list[str]:
    """Return which versions of the app were loaded, the supervisor's among them."""
    return (folder / "versions").read_text(encoding="utf-8").split()


def pids(worker: WorkerProcess) -> list[str]:
    return re.findall(r"worker \S+ is process (\d+)", worker.log)


@pytest.mark.usefixtures("_watchfiles")
def test_a_change_replaces_the_worker(worker_process: StartWorker, tmp_path: Path) -> None:
    """The old process drains and ends by itself, the new one has the new code; SIGTERM ends all with exit code 0."""
    write(tmp_path, "one")
    worker = worker_process("shop", arguments=["--reload"])
    write(tmp_path, "second")  # of another size: a cached one of the same second would do otherwise
    worker.wait_ready(2)
    assert ["one", "one", "second"] == versions(tmp_path)
    assert "changed: shop.py" in worker.log
    assert "stopped cleanly" in worker.log
    assert 2 == len(set(pids(worker)))
    assert 0 == worker.stop()


@pytest.mark.usefixtures("_watchfiles")
def test_all_workers_of_processes_are_replaced(worker_process: StartWorker, tmp_path: Path) -> None:
    """--reload and --processes 2; also a new file counts, below a folder of the working directory."""
    write(tmp_path, "one")
    (tmp_path / "parts").mkdir()
    worker = worker_process("shop", processes=2, arguments=["--reload"])
    (tmp_path / "parts" / "new.py").write_text("x = 1\n", encoding="utf-8")
    worker.wait_ready(4)
    assert "changed: parts/new.py" in worker.log
    assert 4 == len(set(pids(worker)))
    assert 0 == worker.stop()


@pytest.mark.usefixtures("_watchfiles")
def test_broken_code_waits_to_be_mended(worker_process: StartWorker, tmp_path: Path) -> None:
    """The traceback is shown once, no worker is started over and over, and the next change brings one up."""
    write(tmp_path, "one")
    worker = worker_process("shop", arguments=["--reload"])
    (tmp_path / "shop.py").write_text("1 / 0\n", encoding="utf-8")
    worker.wait_log("is replaced when a file has changed")
    assert 1 == worker.log.count("raised ZeroDivisionError")
    write(tmp_path, "third")
    worker.wait_ready(2)
    assert ["one", "one", "third"] == versions(tmp_path)
    assert 0 == worker.stop()


def test_without_watchfiles_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2 and the line for pip; nothing is started."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    core = QueueTasks("shop", "memory://").core
    monkeypatch.setattr("qtasks_core.cli.run.load_app", lambda ref: core)
    done = CliRunner().invoke(qtasks, ["-A", "shop:app", "run", "--reload", "--log-level", "error"])

    assert 2 == done.exit_code
    assert 'Error: --reload needs the package watchfiles: pip install "qtasks[reload]"\n' in done.output


@pytest.mark.usefixtures("_watchfiles")
def test_only_sources_count(tmp_path: Path) -> None:
    """Not data, not caches, not what is installed; several files are one change."""
    for name in ("__pycache__", ".venv", "src"):
        (tmp_path / name).mkdir()
    changed = threading.Event()
    with SourceWatch(str(tmp_path), changed.set):
        (tmp_path / "begin.py").touch()

        def watches() -> bool:
            (tmp_path / "begin.py").touch()
            return changed.is_set()

        eventually_sync(watches, what="the watch is up", interval_s=0.1)
        while changed.wait(0.5):
            changed.clear()
        for name in ("data.txt", "__pycache__/a.py", ".venv/b.py", "src/queue.db"):
            (tmp_path / name).touch()
        assert not changed.wait(0.5)
        (tmp_path / "src" / "c.py").touch()
        assert changed.wait(10)
