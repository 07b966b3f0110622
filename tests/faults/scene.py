"""The folder in which all processes of one test work: their files, their ledger, and how they are started."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from faults.place import Place
    from qtasks_testing.ledger import Ledger
    from qtasks_testing.processes import WorkerProcess

__all__ = ["PATIENCE_S", "Scene"]

PATIENCE_S = 30.0
"""For what should take a moment, on a machine that has other things to do."""


class Scene:
    """One folder.

    Parameters:
        folder: Where the processes work.
        place: Where their tasks are.
        ledger: What tasks record in.
        modules: Where the modules of these tests are.
        start: Starts a `WorkerProcess`.
    """

    def __init__(
        self, folder: Path, place: Place, ledger: Ledger, modules: Path, start: Callable[..., WorkerProcess]
    ) -> None:
        self.folder = folder
        self.place = place
        self.ledger = ledger
        self._modules = str(modules)
        self._start = start

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables for a process that imports modules of these tests."""
        paths = [self._modules, *filter(None, [os.environ.get("PYTHONPATH")])]
        where = {"FAULTS_NAME": self.place.name, "FAULTS_URL": self.place.url}
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **where, **variables}

    def worker(
        self, name: str, app: str = "faults.tasks", *, env: Mapping[str, str] | None = None, **options: Any
    ) -> WorkerProcess:
        """Start a worker of that name.

        Parameters:
            name: Also of its log.
            app: What it runs.
            env: Variables of its own.
            options: Further ones of `WorkerProcess`.
        """
        log_path = self.folder / f"{name}.log"
        return self._start(app, log_path=log_path, name=name, env=self.environment(**(env or {})), **options)

    def pause(self, worker: WorkerProcess) -> None:
        """Pause a worker; on SQLite at a moment in which it does not hold the file, where all would stop with it."""
        worker.pause()
        while not self.place.is_writable():
            worker.resume()
            time.sleep(0.01)
            worker.pause()
