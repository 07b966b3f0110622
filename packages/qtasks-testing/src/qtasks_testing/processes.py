"""Real worker processes for tests: started as a user starts them, then killed, stopped, paused, never orphaned."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

__all__ = ["WorkerFailedError", "WorkerProcess"]

READY = re.compile(r"worker ready")
_TAIL_LINES = 60


class WorkerFailedError(AssertionError):
    """A worker process did not do what was asked; the message has the end of its log."""


class WorkerProcess:
    """`python -m qtasks_core -A APP run ...` in a process group of its own; a context manager that leaves none behind.

    Parameters:
        app: "module:attribute", found from *cwd*.
        cwd: Folder to run in; the log is written here as `worker-N.log` where *log_path* is not given.
        log_path: File that gets what the process writes.
        env: Variables beside those of this process.
        concurrency: `--concurrency`.
        processes: `--processes`.
        queues: `-Q`.
        name: `--worker-name`.
        log_level: `--log-level`; the worker says that it is ready at INFO.
        stop_with_parent: `--stop-with-parent`.
        arguments: Further arguments of `run`.
        module: What `python -m` runs.
    """

    def __init__(
        self,
        app: str,
        cwd: str | os.PathLike[str],
        *,
        log_path: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        concurrency: int | None = None,
        processes: int | None = None,
        queues: Sequence[str] = (),
        name: str | None = None,
        log_level: str = "INFO",
        stop_with_parent: bool = False,
        arguments: Sequence[str] = (),
        module: str = "qtasks_core",
    ) -> None:
        self.cwd = Path(cwd)
        self.log_path = Path(log_path) if log_path is not None else _free_log_path(self.cwd)
        self.processes = processes
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.command = [sys.executable, "-m", module, "-A", app, "run", "--log-level", log_level, "--no-color"]
        options = {"--concurrency": concurrency, "--processes": processes, "--worker-name": name}
        for option, value in options.items():
            self.command += [] if value is None else [option, str(value)]
        self.command += ["-Q", ",".join(queues)] if queues else []
        self.command += ["--stop-with-parent"] if stop_with_parent else []
        self.command += arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_before = 0

    def __repr__(self) -> str:
        state = "not started" if self._process is None else f"pid {self.pid}, exit code {self.exit_code}"
        return f"<WorkerProcess {state}, log {str(self.log_path)!r}>"

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ its life

    def start(self, timeout_s: float | None = 30.0) -> Self:
        """Start the process and wait until it takes tasks.

        Parameters:
            timeout_s: Seconds that it may take; None does not wait.

        Raises:
            WorkerFailedError: It ended, or was not ready in time.
        """
        if self._process is not None and self._process.poll() is None:
            raise WorkerFailedError(f"{self!r} runs already")
        self._ready_before = self._ready_lines()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # signals of the terminal stay here, and the group can be killed as one
            )
        if timeout_s is not None:
            self.wait_ready(timeout_s=timeout_s)
        return self

    def wait_ready(self, count: int | None = None, timeout_s: float = 30.0) -> None:
        """Wait until *count* workers have said since start() that they take tasks.

        Parameters:
            count: How many; one, or as many as `--processes` has.
            timeout_s: Seconds that it may take.

        Raises:
            WorkerFailedError: The process ended, or they were not ready in time.
        """
        wanted = self._ready_before + (count or self.processes or 1)
        deadline = time.monotonic() + timeout_s
        while self._ready_lines() < wanted:
            if self.exit_code is not None:
                raise self._failed(f"ended with {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {timeout_s} s")
            time.sleep(0.01)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end and return the exit code (negative: the signal).

        Raises:
            WorkerFailedError: It did not end in time.
        """
        try:
            return self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {timeout_s} s") from None

    def wait_log(self, pattern: str, timeout_s: float = 30.0) -> re.Match[str]:
        """Wait until the log has a match of *pattern* and return it.

        Raises:
            WorkerFailedError: It did not come in time.
        """
        try:
            found: re.Match[str] = eventually_sync(lambda: re.search(pattern, self.log), timeout_s)
        except AssertionError:
            raise self._failed(f"did not log {pattern!r} within {timeout_s} s") from None
        return found

    def close(self) -> None:
        """Kill the whole process group, paused or not, and wait for the process; harmless when repeated."""
        if self._process is None:
            return
        self.kill_group()
        self._process.wait()

    # ------------------------------------------------------------ signals

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask it to finish (SIGTERM), wait for the end and return the exit code.

        Raises:
            WorkerFailedError: It did not end in time.
        """
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does; does not wait."""
        self.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait for its death; its children are left to themselves."""
        self.send_signal(signal.SIGKILL)
        self._started().wait()

    def kill_group(self) -> None:
        """Kill the process and all its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            os.killpg(self.pid, signal.SIGKILL)

    def pause(self) -> None:
        """Stop the process (SIGSTOP), as a paused machine does."""
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

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise WorkerFailedError(f"{self!r}: start() it first")
        return self._process

    def _ready_lines(self) -> int:
        return len(READY.findall(self.log))

    def _failed(self, what: str) -> WorkerFailedError:
        return WorkerFailedError(f"worker process {self.pid} {what}; {' '.join(self.command)}\n{self.log_tail}")


def _free_log_path(folder: Path) -> Path:
    number = 1
    while True:
        path = folder / f"worker-{number}.log"
        try:
            path.touch(exist_ok=False)  # taken at once, so that two workers never share a log
        except FileExistsError:
            number += 1
        else:
            return path
