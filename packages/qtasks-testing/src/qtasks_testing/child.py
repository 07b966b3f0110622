"""A process that a test starts, asks things of, and never leaves behind: what workers and servers have in common."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

__all__ = ["ChildProcess"]

_TAIL_LINES = 60


class ChildProcess:
    """A process in a group of its own that writes a log; a context manager.

    A subclass starts it in `start`, with `_launch`, and ends it in `close`.

    Parameters:
        log_path: File that gets what the process writes.
    """

    error: ClassVar[type[AssertionError]]
    """What is raised when it does not do what was asked."""

    def __init__(self, log_path: str | os.PathLike[str]) -> None:
        self.log_path = Path(log_path)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}, log {str(self.log_path)!r}>"

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ its life

    def start(self, timeout_s: float | None = 30.0) -> Self:
        """Start the process and wait until it can be used.

        Parameters:
            timeout_s: Seconds that it may take; None does not wait.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the process; harmless when repeated."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill the process (SIGKILL), paused or not, and wait for its death; its children are left to themselves."""
        self.send_signal(signal.SIGKILL)
        self._started().wait()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end and return the exit code (negative: the signal).

        Raises:
            AssertionError: (`error`) It did not end in time.
        """
        try:
            return self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {timeout_s} s") from None

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask it to finish (SIGTERM), wait for the end and return the exit code.

        Raises:
            AssertionError: (`error`) It did not end in time.
        """
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    # ------------------------------------------------------------ signals

    def pause(self) -> None:
        """Suspend the process (SIGSTOP), as a paused machine does: its connections stay, and nobody answers."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self.send_signal(signal.SIGCONT)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, not to its children; nothing happens when it has ended."""
        self._started().send_signal(number)

    # ------------------------------------------------------------ what is known

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """The exit code (negative: the signal); None while it runs."""
        return self._started().poll()

    @property
    def alive(self) -> bool:
        """Whether it runs, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote so far, over all starts."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def log_tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.splitlines()[-_TAIL_LINES:])

    # ------------------------------------------------------------ for subclasses

    @property
    def _state(self) -> str:
        return "not started" if self._process is None else f"pid {self.pid}, exit code {self.exit_code}"

    def _must_not_run(self) -> None:
        if self.alive:
            raise self.error(f"{self!r} runs already")

    def _launch(self, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # signals of the terminal stay here, and the group can be killed as one
            )

    def _wait_until(self, is_so: Callable[[], bool], timeout_s: float, *, done: str, undone: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if not self.alive:
                raise self._failed(f"ended with {self.exit_code} before it {done}")
            if time.monotonic() > deadline:
                raise self._failed(f"{undone} within {timeout_s} s")
            time.sleep(0.01)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise self.error(f"{self!r}: start() it first")
        return self._process

    def _failed(self, what: str) -> AssertionError:
        return self.error(f"{self!r} {what}\n{self.log_tail}")
