"""How a process of a pool is started: a fresh interpreter in a process group of its own, on a socket and a lifeline."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError
from qtasks_core.forks import after_fork

if TYPE_CHECKING:
    from qtasks_core.worker.processes.messages import Setup

__all__ = ["Launcher"]

_PROGRAM = (
    "import sys; numbers = map(int, sys.argv[1:3]); sys.path[:] = sys.argv[3:]; "
    "from qtasks_core.worker.processes.child import main; main(*numbers)"
)


class Launcher:
    """Starts processes that end with this one.

    Parameters:
        setup: What each is told first.

    Raises:
        ConfigError: This platform has no process groups.
    """

    def __init__(self, setup: Setup) -> None:
        if not hasattr(os, "killpg"):
            raise ConfigError("ProcessTaskExecutor: expected Linux or macOS")
        self.setup = setup
        self._lifeline, self._held = os.pipe()
        after_fork(self, Launcher._forget)

    def start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start a process; return it, and the connection to it.

        Raises:
            OSError: The system has no room for another one.
        """
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(  # noqa: S603  # this program, with arguments of our own
                self._command(), stdin=theirs.fileno(), pass_fds=(self._lifeline,), process_group=0
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return process, ours

    def close(self) -> None:
        """Kill what still runs."""
        os.close(self._held)
        os.close(self._lifeline)

    def _command(self) -> list[str]:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing
        return [sys.executable, *flags, "-P", "-c", _PROGRAM, str(self._lifeline), str(os.getpid()), *sys.path]

    def _forget(self) -> None:
        """Let go of the lifeline in a forked child, which would keep processes alive that are not its own."""
        with contextlib.suppress(OSError):
            os.close(self._held)
