"""Worker processes, started as a user starts them."""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parents[1]  # the folder from which `-A wordcount.tasks:app` is found
START_S = 30.0
STOP_S = 30.0


class Worker:
    """One `qtasks run`; what it writes goes to a log file.

    Parameters:
        concurrency: Tasks that it runs at the same time.
        log: The file.
    """

    def __init__(self, concurrency: int, log: Path) -> None:
        self.log = log
        command = [sys.executable, "-m", "qtasks", "-A", "wordcount.tasks:app", "run"]
        command += ["--concurrency", str(concurrency), "--stop-with-parent", "--no-color"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=HERE, stdout=output, stderr=subprocess.STDOUT)

    def wait_ready(self) -> None:
        """Wait until it takes tasks.

        Raises:
            RuntimeError: It ended, or was not ready in time.
        """
        deadline = time.monotonic() + START_S
        while "worker ready" not in self.log.read_text(encoding="utf-8"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the worker did not start:\n{self.log.read_text(encoding='utf-8')}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it with SIGKILL: it has no chance to clean up."""
        self.process.kill()
        self.process.wait()


class Crew:
    """Several workers; a context manager that leaves none behind.

    Parameters:
        size: How many.
        concurrency: Tasks that each runs at the same time.
        folder: Where their logs go.
    """

    def __init__(self, size: int, concurrency: int, folder: Path) -> None:
        self._concurrency = concurrency
        self._folder = folder
        self._started: list[Worker] = []
        self._alive = [self._start() for _ in range(size)]

    def __enter__(self) -> Self:
        for worker in self._alive:
            worker.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._alive:
            worker.kill()

    def kill_one(self) -> None:
        """Kill one of the workers and start another in its place."""
        self._alive.pop(0).kill()
        self._alive.append(self._start())

    def stop(self) -> list[int]:
        """Ask all to stop, with SIGTERM, and return their exit codes."""
        for worker in self._alive:
            worker.wait_ready()  # the replacement may have come too late for work, and knows no SIGTERM until then
            worker.process.terminate()
        return [worker.process.wait(timeout=STOP_S) for worker in self._alive]

    def logs(self) -> str:
        """Return what all of them wrote, the killed one too."""
        return "".join(f"--- {one.log.name}\n{one.log.read_text(encoding='utf-8')}" for one in self._started)

    def _start(self) -> Worker:
        worker = Worker(self._concurrency, self._folder / f"worker-{len(self._started) + 1}.log")
        self._started.append(worker)
        return worker
