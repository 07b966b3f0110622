"""The end of a process that has used the file: it is closed, and nothing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, threading
from qtasks_core.blocking import QueueTasks

logging.getLogger("qtasks").addHandler(logging.StreamHandler())
logging.getLogger("qtasks").setLevel("ERROR")
app = QueueTasks("test", "sqlite:///queue.db")
app.add_task("job", 1)
"""
NO_THREADS = """
import atexit
start = threading.Thread.start

def refuse(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

atexit.register(setattr, threading.Thread, "start", refuse)  # runs before the app's own, as Python 3.12.1 would have it
"""


@pytest.mark.parametrize("more", ["", NO_THREADS], ids=["threads", "no threads"])
def test_a_process_that_ends_closes_the_file(tmp_path: Path, more: str) -> None:
    """Also where the interpreter starts no thread any more: the log is moved into the file and removed."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM + more]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert ("", 0) == (done.stderr, done.returncode)
    assert ["queue.db"] == [path.name for path in tmp_path.iterdir()]
