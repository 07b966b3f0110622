"""Who is alive: each worker holds a lock on a file of its own, and the kernel frees it when the process dies.

lockf, not flock: flock stays held after kill -9 while a forked grandchild lives. But closing any descriptor of such a
file in the process that holds the lock frees it, so a process opens its own lock files exactly once.

Who removes a file that is nobody's holds its lock meanwhile, and who locks a new file looks whether it is still there:
whichever comes first, no worker holds a lock on a file that others cannot see.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

try:
    import fcntl

    CAN_LOCK = True
except ImportError:  # Windows
    CAN_LOCK = False

__all__ = ["bury", "clean", "hold_new", "is_dead", "let_go"]

ORPHAN_S = 60.0  # a younger file without a registration is that of a worker that is about to register
TRIES = 100  # others may remove the folder when it is empty, just when a file is to be made in it

_guard = threading.Lock()
_held: dict[Path, int] = {}


def hold_new(database: Path) -> str:
    """Make a lock file beside the database and hold it until let_go() or the end of this process; return its name.

    Raises:
        ConfigError: This system has no such locks.
        OSError: It cannot be made.
    """
    if not CAN_LOCK:
        raise ConfigError(
            "workers on sqlite:// need POSIX locks, which this system does not have; use redis:// or amqp://"
        )
    for _ in range(TRIES - 1):
        with contextlib.suppress(OSError):
            return _hold_new(database)
    return _hold_new(database)


def _hold_new(database: Path) -> str:
    path = _path(database, secrets.token_hex(8))
    with _guard:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.stat()  # not there: it was taken for nobody's before it was locked
        except OSError:
            _remove(path)
            os.close(descriptor)
            raise
        _held[path] = descriptor
    return path.stem


def let_go(database: Path, lock: str) -> None:
    """Free a lock of this process and remove its file."""
    path = _path(database, lock)
    with _guard:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            _remove(path)
            os.close(descriptor)


def is_dead(database: Path, lock: str) -> bool:
    """Tell whether no process holds the lock; a file that is gone is held by nobody that matters."""
    path = _path(database, lock)
    with _guard:
        return path not in _held and _is_free(path)


def bury(database: Path, locks: Sequence[str]) -> None:
    """Remove the files of workers that are registered no more; they may still hold them."""
    with _guard:
        for lock in locks:
            if _path(database, lock) not in _held:
                _remove(_path(database, lock))


def clean(database: Path, registered: Collection[str]) -> None:
    """Remove what was left by workers that died before they registered, or were stopped while the file was away."""
    with _guard, contextlib.suppress(FileNotFoundError):  # the folder goes with its last file
        paths = [path for path in _path(database, "").parent.iterdir() if path.suffix == ".lock"]
        for path in paths:
            if path.stem not in registered and path not in _held and _is_old(path):
                with _held_if_free(path) as free:
                    if free:
                        _remove(path)


def _path(database: Path, lock: str) -> Path:
    return database.with_name(database.name + "-workers") / f"{lock}.lock"


def _is_free(path: Path) -> bool:
    with _held_if_free(path) as free:
        return free


@contextlib.contextmanager
def _held_if_free(path: Path) -> Iterator[bool]:
    """Tell whether a lock is free, and hold it meanwhile if it is; never of a file that this process holds."""
    if not CAN_LOCK:
        yield False  # nobody can tell
        return
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _locks(descriptor)
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_old(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - ORPHAN_S
    except OSError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # only when it is empty


def _forget() -> None:
    """Know, in a forked child, that it holds nothing: locks do not pass to children. What is open stays open."""
    global _guard  # noqa: PLW0603  # another thread of the parent may have held it
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
