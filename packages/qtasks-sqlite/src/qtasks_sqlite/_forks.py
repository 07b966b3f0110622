"""Forks: nothing of SQLite is in use, or open, while this process forks.

Its locks belong to a process, and its memory of them is copied: a child would rely on locks that only its parent has.
When the last process that has some closes the file, the log is removed with all that the child has written into it
since. And what another thread holds inside SQLite in the moment of a fork nobody in the child would ever give back.
So a fork waits for who is inside, and closes all connections; each is opened again when it is used next
(docs/decisions/002-forks-and-sqlite.md).
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Protocol

__all__ = ["enter", "leave", "let_go_in_forks"]

logger = logging.getLogger("qtasks.sqlite")

_PATIENCE_S = 30.0  # a thread may be stuck in a disk that does not answer


class Holder(Protocol):
    """Somebody who has something of SQLite's open."""

    def let_go(self) -> None:
        """Close it, from another thread, while nobody is inside."""
        ...


class _Gate:
    """Lets threads into SQLite while nobody forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._forks = 0
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()

    def enter(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            if self._forks and not self._inside:
                self._changed.notify_all()

    def add(self, holder: Holder) -> None:
        with self._changed:
            self._holders.add(holder)

    def shut(self) -> None:
        with self._changed:
            self._forks += 1
            if not self._changed.wait_for(lambda: not self._inside, _PATIENCE_S):
                logger.error("a fork amid the use of SQLite: the disk does not answer; the child must not use qtasks")
                return
            for holder in list(self._holders):
                holder.let_go()

    def open(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


_gate = _Gate()


def enter() -> None:
    """Begin to use SQLite; waits while this process forks. Never forks itself, and always ends with leave()."""
    _gate.enter()


def leave() -> None:
    """End what enter() has begun."""
    _gate.leave()


def let_go_in_forks(holder: Holder) -> None:
    """Have *holder* let go whenever this process forks, as long as it lives."""
    _gate.add(holder)


def _before() -> None:
    _gate.shut()


def _after() -> None:
    _gate.open()


def _begin_anew() -> None:
    """Forget, in a child, the threads of its parent, and what they may have held."""
    global _gate  # noqa: PLW0603  # its lock may be held for ever
    _gate = _Gate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_begin_anew)
