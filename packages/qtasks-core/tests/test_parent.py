"""How a process notices that the one which started it is gone."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from qtasks_core.parent import ParentWatch

DEADLINE_S = 20.0

WATCHER = """
import asyncio, pathlib, sys
from qtasks_core.parent import ParentWatch
watch = ParentWatch()
pathlib.Path(sys.argv[1]).write_text("watching")
asyncio.run(watch.wait())
pathlib.Path(sys.argv[1]).write_text("gone")
"""


def test_a_living_parent_is_not_gone() -> None:
    """By default the parent of this moment is watched, and it lives."""
    watch = ParentWatch()
    assert watch.expected == os.getppid()
    assert watch.gone() is False


async def test_a_parent_that_died_before_the_watch_began_is_noticed_at_once() -> None:
    """A child told its parent's id on the command line may start after the parent's death."""
    watch = ParentWatch(expected=os.getpid())  # never its own parent
    assert watch.gone() is True
    await asyncio.wait_for(watch.wait(), DEADLINE_S)


async def test_waiting_goes_on_while_the_parent_lives() -> None:
    """wait() is still pending after several looks."""
    watch = ParentWatch()
    watch.interval_s = 0.001
    waiting = asyncio.ensure_future(watch.wait())
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert done == set()
    waiting.cancel()


def test_a_killed_parent_is_noticed(tmp_path: Path) -> None:
    """After kill -9 of the parent its child's wait() returns."""
    told = tmp_path / "told"
    launcher = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {WATCHER!r}, {str(told)!r}])"
    parent = subprocess.Popen([sys.executable, "-c", launcher])
    _until(told, "watching")
    parent.kill()
    parent.wait(DEADLINE_S)
    _until(told, "gone")


def _until(file: Path, text: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not (file.exists() and file.read_text() == text):
        assert time.monotonic() < end, f"{file.name} does not say {text!r} within {DEADLINE_S} s"
        time.sleep(0.01)
