"""Signals in a pool process: left to the worker, while what a task starts listens as ever."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

__all__ = ["ignore_signals"]

_HANDLERS: Mapping[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_mask = threading.local()


def ignore_signals() -> None:
    """Leave Ctrl-C, and a SIGTERM to all processes of a service, to the worker, which lets tasks end.

    A program that a task starts does not inherit that, because these are handlers and not SIG_IGN. A forked child
    forgets them; what is sent to it before that waits in the kernel, where Python would drop it.
    """
    for number in _HANDLERS:
        signal.signal(number, _do_nothing)
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_listen_again)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Go on."""


def _hold() -> None:
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLERS)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _listen_again() -> None:
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is _do_nothing:
            signal.signal(number, handler)
    _let_go()
