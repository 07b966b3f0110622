"""Real worker processes for tests: started as a user starts them, then killed, stopped, paused, never orphaned."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qtasks_testing.child import ChildProcess
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

__all__ = ["WorkerFailedError", "WorkerProcess"]

READY = re.compile(r"worker ready")
_TAIL_LINES = 60


class WorkerFailedError(AssertionError):
    """A worker process did not do what was asked; the message has the end of its log."""


class WorkerProcess(ChildProcess):
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

    error = WorkerFailedError

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
        super().__init__(log_path if log_path is not None else _free_log_path(self.cwd))
        self.processes = processes
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.command = [sys.executable, "-m", module, "-A", app, "run", "--log-level", log_level, "--no-color"]
        options = {"--concurrency": concurrency, "--processes": processes, "--worker-name": name}
        for option, value in options.items():
            self.command += [] if value is None else [option, str(value)]
        self.command += ["-Q", ",".join(queues)] if queues else []
        self.command += ["--stop-with-parent"] if stop_with_parent else []
        self.command += arguments
        self._ready_before = 0

    # ------------------------------------------------------------ its life

    def start(self, timeout_s: float | None = 30.0) -> Self:
        """Start the process and wait until it takes tasks.

        Parameters:
            timeout_s: Seconds that it may take; None does not wait.

        Raises:
            WorkerFailedError: It ended, or was not ready in time.
        """
        self._must_not_run()
        self._ready_before = self._ready_lines()
        self._launch(self.command, self.cwd, self.env)
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
        self._wait_until(lambda: self._ready_lines() >= wanted, timeout_s, done="was ready", undone="was not ready")

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

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does; does not wait."""
        self.send_signal(signal.SIGINT)

    def kill_group(self) -> None:
        """Kill the process and all its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            os.killpg(self.pid, signal.SIGKILL)

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
