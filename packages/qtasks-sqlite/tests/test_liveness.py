"""Lock files: who is alive holds one, what the dead leave is cleaned away, and no cleaning harms the living."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_sqlite import SqliteBroker, _liveness
from qtasks_sqlite._liveness import ORPHAN_S, bury, clean, hold_new, is_dead, let_go
from qtasks_testing.kit import Bench, Subject
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not _liveness.CAN_LOCK, reason="this system has no POSIX locks")

HOLDER = """
import sys
from pathlib import Path
from qtasks_sqlite._liveness import hold_new
print(hold_new(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
ASKER = """
import sys
from pathlib import Path
from qtasks_sqlite._liveness import is_dead
print(*(is_dead(Path(sys.argv[1]), lock) for lock in sys.argv[2:]))
"""
LOCKER = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
WORKERS = """
import os, sys, time
from pathlib import Path
from qtasks_sqlite._liveness import hold_new, let_go
database, end, count = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    lock = hold_new(database)
    path = database.with_name(database.name + "-workers") / f"{lock}.lock"
    for _ in range(20):
        assert path.exists(), "the lock of a living worker is gone"
        time.sleep(0)
    let_go(database, lock)
    count += 1
print(count)
"""
CLEANERS = """
import sys, time
from pathlib import Path
from qtasks_sqlite import _liveness
_liveness.ORPHAN_S = -1.0
database, end = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    _liveness.clean(database, ())
"""
RACE_S = 1.5


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "locks.db"


@pytest.fixture
def other(database: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds a lock, and the lock's name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """Let a process die as by the kernel."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def path_of(database: Path, lock: str) -> Path:
    return database.with_name(database.name + "-workers") / f"{lock}.lock"


def make_old(path: Path) -> None:
    """Let a file look as if it had been made long ago."""
    before = time.time() - 2 * ORPHAN_S
    os.utime(path, (before, before))


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(program: str, *arguments: object) -> str:
    """Run a program in a process of its own; return what it prints."""
    process = start(program, *arguments)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed.strip()


# ---------------------------------------------------------------- who is dead


def test_a_killed_worker_is_dead_and_a_living_one_is_not(
    database: Path, other: tuple[subprocess.Popen[str], str]
) -> None:
    """The kernel frees the lock with the process, and nothing else does."""
    process, lock = other

    assert not is_dead(database, lock)
    kill(process)
    assert is_dead(database, lock)


def test_asking_frees_no_lock_of_this_process(database: Path) -> None:
    """Closing any descriptor of a file frees its lock, so a process never opens its own a second time."""
    lock = hold_new(database)

    assert not is_dead(database, lock)
    make_old(path_of(database, lock))
    clean(database, ())
    bury(database, [lock])

    assert ask(ASKER, database, lock) == "False"
    let_go(database, lock)
    assert not path_of(database, lock).parent.exists()


# ---------------------------------------------------------------- what is cleaned away


def test_the_file_of_a_dead_worker_is_removed(database: Path, other: tuple[subprocess.Popen[str], str]) -> None:
    """And the folder with it, when it was the last one."""
    process, lock = other
    kill(process)
    make_old(path_of(database, lock))

    clean(database, ())

    assert not path_of(database, lock).parent.exists()


def test_the_file_of_a_living_worker_stays(database: Path, other: tuple[subprocess.Popen[str], str]) -> None:
    """However old it is, and whether the worker is registered or not."""
    _, lock = other
    make_old(path_of(database, lock))

    clean(database, ())

    assert path_of(database, lock).exists()
    assert not is_dead(database, lock)


def test_the_file_of_a_registered_worker_stays(database: Path, other: tuple[subprocess.Popen[str], str]) -> None:
    """What it holds is taken over first."""
    process, lock = other
    kill(process)
    make_old(path_of(database, lock))

    clean(database, {lock})

    assert path_of(database, lock).exists()
    bury(database, [lock])
    assert not path_of(database, lock).parent.exists()


def test_a_young_file_stays(database: Path, other: tuple[subprocess.Popen[str], str]) -> None:
    """Its worker may be about to lock it, or to register."""
    process, lock = other
    kill(process)

    clean(database, ())

    assert path_of(database, lock).exists()


async def test_a_worker_cleans_up_after_those_that_never_registered(database: Path) -> None:
    """As soon as it is there, and its own lock stays."""
    folder = path_of(database, "").parent
    folder.mkdir()
    orphan = folder / "0123456789abcdef.lock"
    orphan.touch()
    make_old(orphan)
    bench = Bench(Subject(f"sqlite:///{database}", broker=SqliteBroker), "broker")

    await bench.consumer()

    await eventually(lambda: not orphan.exists(), what="the orphan is removed")
    assert len(list(folder.iterdir())) == 1
    await bench.close()
    assert not folder.exists()


# ---------------------------------------------------------------- a cleaning beside a start


def test_a_folder_that_goes_while_a_lock_is_made_is_made_again(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last worker of another process has just tidied up."""
    make_file = os.open
    goes = [True, True]

    def open_(path: Path, *arguments: Any) -> int:
        if goes:
            goes.pop()
            path.parent.rmdir()
        return make_file(path, *arguments)

    monkeypatch.setattr(os, "open", open_)
    lock = hold_new(database)
    monkeypatch.undo()

    assert goes == []
    assert ask(ASKER, database, lock) == "False"
    let_go(database, lock)


def test_a_file_that_is_cleaned_away_before_it_is_locked_is_made_again(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is paused just there for longer than a file is young: nobody could see the lock that it gets."""
    lockf = fcntl.lockf
    made: list[Path] = []

    def lock_late(descriptor: int, operation: int) -> None:
        [path] = path_of(database, "").parent.iterdir()
        made.append(path)
        if len(made) == 1:
            path.unlink()
        lockf(descriptor, operation)

    monkeypatch.setattr(fcntl, "lockf", lock_late)
    lock = hold_new(database)
    monkeypatch.undo()

    assert made[1:] == [path_of(database, lock)]
    assert ask(ASKER, database, lock) == "False"
    let_go(database, lock)


def test_a_file_is_locked_while_it_is_cleaned_away(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can lock it between the look and the removal."""
    orphan = path_of(database, "0123456789abcdef")
    orphan.parent.mkdir()
    orphan.touch()
    make_old(orphan)
    remove = _liveness._remove
    late: list[str] = []

    def remove_late(path: Path) -> None:
        late.append(start(LOCKER, path).communicate()[1])
        remove(path)

    monkeypatch.setattr(_liveness, "_remove", remove_late)
    clean(database, ())

    assert ["BlockingIOError" in errors for errors in late] == [True]
    assert not orphan.exists()


def test_a_lock_that_cannot_be_had_leaves_no_file(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks: told, and nothing of it stays."""

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)

    with pytest.raises(OSError, match="no locks available"):
        hold_new(database)
    assert not path_of(database, "").parent.exists()


def test_workers_come_and_go_while_others_clean(database: Path) -> None:
    """With no file too young to be cleaned away, each lock is there as long as its worker, and each worker gets one."""
    cleaners = [start(CLEANERS, database, RACE_S) for _ in range(2)]
    workers = [start(WORKERS, database, RACE_S) for _ in range(3)]

    errors = {process.communicate()[1] for process in cleaners}
    printed = [process.communicate() for process in workers]

    assert errors == {""}
    assert [errors for _, errors in printed] == ["", "", ""]
    assert all(int(count) for count, _ in printed)
