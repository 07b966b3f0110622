"""How a thread sleeps until another process has written to the file, or somebody in this one wakes it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Doorbell", "open_doorbell"]

IN_MODIFY = 0x2
EVENT = struct.Struct("iIII")
READ_BYTES = 16_384
POLL_TICK_S = 0.001  # what poll() counts in, rounding up


class Doorbell(Protocol):
    """What a thread sleeps on."""

    hears: bool
    """Whether the writing of other processes is heard; else only looking tells."""

    def wait(self, timeout_s: float | None, *, listen: bool) -> bool:
        """Sleep until woken, and tell whether somebody wrote; under *listen* writing wakes too."""
        ...

    def wake(self) -> None:
        """End the sleep, from any thread."""
        ...

    def watch(self, log: Path) -> None:
        """Listen to the write-ahead log, which must exist; again when it may have been removed and made anew."""
        ...

    def close(self) -> None: ...


def open_doorbell() -> Doorbell:
    """Return the best bell that this system has; it hears nothing until it is told what to watch."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            return InotifyBell()
    return TimerBell()


class TimerBell:
    """Hears nothing: its owner looks when the time is over."""

    hears = False

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wait(self, timeout_s: float | None, *, listen: bool) -> bool:  # noqa: ARG002  # there is nothing to listen to
        """Sleep until woken or until the time is over."""
        self._woken.wait(timeout_s)
        self._woken.clear()
        return False

    def wake(self) -> None:
        """End the sleep."""
        self._woken.set()

    def watch(self, log: Path) -> None:
        """Do nothing: there is nothing to listen to."""

    def close(self) -> None:
        """Do nothing: there is nothing open."""


class InotifyBell:
    """Hears each write to the log. The commit is visible a little later, so its owner looks more than once."""

    def __init__(self) -> None:
        self.hears = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._both, self._only = select.poll(), select.poll()
        self._both.register(self._inotify, select.POLLIN)
        for poll in (self._both, self._only):
            poll.register(self._waker, select.POLLIN)

    def wait(self, timeout_s: float | None, *, listen: bool) -> bool:
        """Sleep until woken, until somebody wrote (under *listen*), or until the time is over."""
        ready = self._ready(self._both if listen else self._only, timeout_s)
        if self._waker in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._waker)
        return self._inotify in ready and self._heard()

    def wake(self) -> None:
        """End the sleep."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.eventfd_write(self._waker, 1)

    def watch(self, log: Path) -> None:
        """Listen to this log too; one that was removed makes no noise any more."""
        self.hears = self._libc.inotify_add_watch(self._inotify, os.fsencode(log), IN_MODIFY) >= 0

    def close(self) -> None:
        """Close what is open."""
        os.close(self._inotify)
        os.close(self._waker)

    def _ready(self, poll: select.poll, timeout_s: float | None) -> set[int]:
        if timeout_s is not None and timeout_s < POLL_TICK_S:
            time.sleep(max(0.0, timeout_s))
            timeout_s = 0.0
        return {fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}

    def _heard(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._inotify, READ_BYTES)) > READ_BYTES - EVENT.size:
                pass
        return True
