"""Worker processes of the kit, tried with a stand-in for the worker that needs no broker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_testing import WorkerFailedError, WorkerProcess, eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable

STAND_IN = """
import os, signal, subprocess, sys, time
print(" ".join(sys.argv[1:]), os.environ.get("GREETING", ""))
if "broken:app" in sys.argv:
    sys.exit("no module named broken")
if "parent:app" in sys.argv:
    print("child", subprocess.Popen(["sleep", "600"]).pid)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(0))
signal.signal(signal.SIGINT, lambda *_: stopped.append(3))
if "silent:app" not in sys.argv:
    print("worker ready")
count = 0
while not stopped:
    time.sleep(0.01)
    count += 1
    if "busy:app" in sys.argv:
        print("beat", count)
sys.exit(stopped[0])
"""


@pytest.fixture
def start(tmp_path: Path, worker_process: Callable[..., WorkerProcess]) -> Callable[..., WorkerProcess]:
    """Return the factory, with the stand-in in place of the real worker."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)

    def start_stand_in(app: str = "app:app", **options: Any) -> WorkerProcess:
        return worker_process(app, module="stand_in", **options)

    return start_stand_in


def test_the_command_line_says_what_was_asked_for(start: Callable[..., WorkerProcess]) -> None:
    """Options become those of `run`; variables reach the process."""
    worker = start(concurrency=3, queues=("a", "b"), name="w1", stop_with_parent=True, env={"GREETING": "hello"})

    expected = (
        "-A app:app run --log-level INFO --no-color --concurrency 3 --worker-name w1 -Q a,b --stop-with-parent hello"
    )

    assert expected == worker.log.splitlines()[0]


def test_stop_returns_the_exit_code(start: Callable[..., WorkerProcess]) -> None:
    """SIGTERM, then the end is waited for."""
    worker = start()

    assert worker.stop() == 0
    assert not worker.alive


def test_interrupt_sends_sigint(start: Callable[..., WorkerProcess]) -> None:
    """Ctrl-C is another signal than stop."""
    worker = start()
    worker.interrupt()

    assert worker.wait() == 3


def test_kill_leaves_no_time_to_clean_up(start: Callable[..., WorkerProcess]) -> None:
    """SIGKILL is reported as a negative exit code, at once."""
    worker = start()
    worker.kill()

    assert worker.exit_code == -signal.SIGKILL


def test_a_paused_worker_does_nothing_until_it_is_resumed(start: Callable[..., WorkerProcess]) -> None:
    """SIGSTOP and SIGCONT."""
    worker = start("busy:app")
    worker.wait_log("beat")
    worker.pause()
    eventually_sync(lambda: _state(worker.pid) == "T", what="the process is stopped")
    before = worker.log
    assert before == worker.log

    worker.resume()

    eventually_sync(lambda: len(worker.log) > len(before), what="the process goes on")


def test_a_worker_that_ends_at_once_shows_its_log(start: Callable[..., WorkerProcess]) -> None:
    """What the process said is in the error."""
    with pytest.raises(WorkerFailedError, match=r"ended with 1 before it was ready(.|\n)*no module named broken"):
        start("broken:app")


def test_a_worker_that_is_never_ready_is_reported(start: Callable[..., WorkerProcess]) -> None:
    """Waiting has an end."""
    worker = start("silent:app", start=False)

    with pytest.raises(WorkerFailedError, match=r"was not ready within 0\.2 s"):
        worker.start(timeout_s=0.2)


def test_each_start_waits_for_its_own_readiness(start: Callable[..., WorkerProcess]) -> None:
    """A restarted worker is not taken for ready because of what an earlier life logged."""
    worker = start()
    worker.kill()
    worker.start()

    assert worker.log.count("worker ready") == 2


def test_two_workers_have_two_logs(start: Callable[..., WorkerProcess]) -> None:
    """Logs are never mixed."""
    assert start().log_path != start().log_path


def test_leaving_the_block_kills_paused_workers_and_their_children(tmp_path: Path) -> None:
    """No orphan is left, however the block ends."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    with WorkerProcess("parent:app", tmp_path, module="stand_in") as worker:
        child = int(worker.wait_log(r"child (\d+)").group(1))
        worker.pause()

    assert worker.exit_code == -signal.SIGKILL
    eventually_sync(lambda: _gone(child), what="the grandchild is gone")


def test_children_die_even_when_the_parent_died_before(tmp_path: Path) -> None:
    """kill() takes the parent only; close() takes what it left."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    with WorkerProcess("parent:app", tmp_path, module="stand_in") as worker:
        child = int(worker.wait_log(r"child (\d+)").group(1))
        worker.kill()
        assert not _gone(child)

    eventually_sync(lambda: _gone(child), what="the grandchild is gone")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return _state(pid) == "Z"
    except FileNotFoundError:
        return True
