"""Who is alive: each worker holds a lock on a file of its own, and the kernel frees it when the process dies.

lockf, not flock: flock stays held after kill -9 while a forked grandchild lives. But closing any descriptor of such a
file in the process that holds the lock frees it, so a process opens its own lock files exactly once.
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
    from collections.abc import Collection, Sequence
    from pathlib import Path

try:
    import fcntl

    CAN_LOCK = True
except ImportError:  # Windows
    CAN_LOCK = False

__all__ = ["bury", "clean", "hold_new", "is_dead", "let_go"]

ORPHAN_S = 60.0  # a younger file without a registration is that of a worker that is about to register

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
    path = _path(database, secrets.token_hex(8))
    with _guard:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
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
    with _guard:
        for path in _path(database, "").parent.glob("*.lock"):
            if path.stem not in registered and path not in _held and _is_old(path) and _is_free(path):
                _remove(path)


def _path(database: Path, lock: str) -> Path:
    return database.with_name(database.name + "-workers") / f"{lock}.lock"


def _is_free(path: Path) -> bool:
    if not CAN_LOCK:
        return False  # nobody can tell
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
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
