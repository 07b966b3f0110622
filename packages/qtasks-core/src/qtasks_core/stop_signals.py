"""Signals that ask a process to stop: which of them is the first, which its echo, and which means at once."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["StopSignals", "stopping_early"]

# `timeout` of GNU coreutils signals its child and then the group that the child is in: that is one wish, said twice.
_ECHO_S = {signal.SIGTERM: 1.0}
_SHORT_ECHO_S = 0.1
"""Of the others: who presses Ctrl-C twice means it."""


class StopSignals:
    """Remembers the first signal that asked for a stop."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._at = 0.0

    def hear(self, number: int) -> Literal["stop", "echo", "now"]:
        """Say what a signal means: stop, nothing new, or end at once.

        Parameters:
            number: The signal.
        """
        now = time.monotonic()
        if self._first is None:
            self._first, self._at = number, now
            return "stop"
        echo_s = _ECHO_S.get(signal.Signals(number), _SHORT_ECHO_S)
        return "echo" if number == self._first and now - self._at < echo_s else "now"


@contextlib.contextmanager
def stopping_early() -> Iterator[None]:
    """Let SIGTERM mean exit code 0 while a worker is loaded, which holds nothing yet; it will have its own handlers."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except _StoppedError:
        raise SystemExit(0) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


class _StoppedError(KeyboardInterrupt):
    """SIGTERM, wherever the process is."""


def _interrupt(*_: object) -> NoReturn:
    raise _StoppedError
