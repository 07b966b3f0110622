"""Real servers for tests: processes of their own on loopback, to be killed, stopped, paused, started again.

The rule for tests: one that needs a server is skipped where the server is not installed, with the reason, and fails in
CI (the variable `CI` is set), where it is a fault of the set-up that would hide every other one.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qtasks_testing.child import ChildProcess

if TYPE_CHECKING:
    from typing import NoReturn, Self

__all__ = ["ServerFailedError", "ServerProcess", "free_port", "missing", "program"]

HOST = "127.0.0.1"
_PORTS = range(20_000, 30_000)
_GUARD = ("/bin/sh", "-c", 'read -r line; kill -9 "$1"', "guard")
"""Ends when its input does, which is when this process has died, however it died."""


class ServerFailedError(AssertionError):
    """A server did not do what was asked; the message has the end of its log."""


def missing(what: str) -> NoReturn:
    """Skip the test for want of a server, with the reason; in CI fail it.

    Parameters:
        what: What is missing, and how to get it.
    """
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        pytest.fail(f"{what}; in CI (the variable CI is set) no test is skipped for want of a server", pytrace=False)
    pytest.skip(what)


def program(name: str, package: str) -> str:
    """Return the path of a server's program, or skip the test, as `missing()` does.

    Parameters:
        name: The program, looked for on the PATH.
        package: The Debian package that has it.
    """
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed; on Debian and Ubuntu: sudo apt install {package}")
    return path


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on.

    It is outside of the range from which systems take ports for outgoing connections: while a server is down, a client
    that knocks at such a port again and again can be connected to itself, and the server cannot come back.
    """
    while True:
        port = random.choice(_PORTS)  # noqa: S311  # guards nothing
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError:
                continue
        return port


class ServerProcess(ChildProcess):
    """A server in a process group of its own, with a port and a folder that it keeps; a context manager.

    A subclass says how its server is started (`arguments`) and whether it answers (`answers`).

    Parameters:
        folder: Where the server works: its data and its log. Made when it is not there.
        port: Where it listens, on 127.0.0.1; a free one by default.
    """

    error = ServerFailedError

    def __init__(self, folder: str | os.PathLike[str], *, port: int | None = None) -> None:
        self.folder = Path(folder)
        super().__init__(self.folder / "server.log")
        self.host = HOST
        self.port = port or free_port()
        self._guard: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} port {self.port}, {self._state}, log {str(self.log_path)!r}>"

    def arguments(self) -> list[str]:
        """Return the command that starts the server in the foreground; called before each start."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether the server serves; false while it cannot be reached."""
        raise NotImplementedError

    # ------------------------------------------------------------ its life

    def start(self, timeout_s: float | None = 30.0) -> Self:
        """Start the server, again on the same port and folder, and wait until it serves; it dies with this process.

        Parameters:
            timeout_s: Seconds that it may take; None does not wait.

        Raises:
            ServerFailedError: It ended, or did not serve in time.
        """
        self._must_not_run()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._launch(self.arguments(), self.folder)
        self._begin_guard(self.pid)
        try:
            if timeout_s is not None:
                self.wait_up(timeout_s)
        except BaseException:
            self.close()
            raise
        return self

    def wait_up(self, timeout_s: float = 30.0) -> None:
        """Wait until the server serves.

        Raises:
            ServerFailedError: It ended, or did not serve in time.
        """
        self._wait_until(self.answers, timeout_s, done="served", undone="did not serve")

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask the server to end (SIGTERM), wait for it and return the exit code.

        Raises:
            ServerFailedError: It did not end in time.
        """
        code = super().stop(timeout_s)
        self._end_guard()
        return code

    def kill(self) -> None:
        """Kill the server (SIGKILL), paused or not, and wait for its death."""
        super().kill()
        self._end_guard()

    def restart(self, timeout_s: float = 30.0) -> Self:
        """Stop the server, if it runs, and start it again: the same port, folder and options.

        Raises:
            ServerFailedError: It did not end, or did not serve in time.
        """
        if self.alive:
            self.stop(timeout_s)
        return self.start(timeout_s)

    def close(self) -> None:
        """Kill the server if it runs; harmless when repeated."""
        if self.alive:
            self.kill()
        self._end_guard()

    def _begin_guard(self, pid: int) -> None:
        self._end_guard()
        self._guard = subprocess.Popen([*_GUARD, str(pid)], stdin=subprocess.PIPE, start_new_session=True)

    def _end_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.kill()
            guard.wait()
            guard.stdin.close()
