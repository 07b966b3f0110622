"""Who is alive: each worker holds a lock on a file of its own, and the kernel frees it when the process dies.

lockf, not flock: flock stays held after kill -9 while a forked grandchild lives. But closing any descriptor of such a
file in the process that holds the lock frees it, so a process opens its own lock files exactly once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["bury", "hold", "is_dead", "let_go", "lock_path"]

_guard = threading.Lock()
_held: dict[Path, int] = {}


def lock_path(database: Path, lease: int) -> Path:
    """Return the lock file of a registration."""
    return database.with_name(database.name + "-workers") / f"{lease}.lock"


def hold(path: Path) -> None:
    """Lock a file, which is made, until let_go() or the end of this process.

    Raises:
        ConfigError: This system has no such locks.
        OSError: It cannot be made, or another process holds it.
    """
    if fcntl is None:
        raise ConfigError(
            "workers on sqlite:// need POSIX locks, which this system does not have; use redis:// or amqp://"
        )
    with _guard:
        if path in _held:
            return
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        _held[path] = descriptor


def let_go(path: Path) -> None:
    """Free a lock of this process and remove its file."""
    with _guard:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            _remove(path)
            os.close(descriptor)


def is_dead(path: Path) -> bool:
    """Tell whether no process holds the lock; a file that is gone is held by nobody that matters."""
    with _guard:
        if path in _held or fcntl is None:
            return False
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


def bury(path: Path) -> None:
    """Remove the file of a worker that is registered no more; it may still hold it."""
    with _guard:
        if path not in _held:
            _remove(path)


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
