"""An app with a task for a process of its own, and a plugin that notes that process's beginning and end in a file."""

import asyncio
import os
from pathlib import Path

from qtasks.asyncio import QueueTasks
from qtasks.executors import ProcessTaskExecutor
from qtasks.plugins import BasePlugin
from qtasks_core.app import AppFace

NOTES = "QTASKS_TEST_NOTES"
"""Names the file."""


class Told(BasePlugin):
    async def worker_process_start(self, qtasks: AppFace) -> None:
        self._note("start", qtasks)

    async def worker_process_stop(self, qtasks: AppFace) -> None:
        self._note("stop", qtasks)

    def _note(self, what: str, qtasks: AppFace) -> None:
        with Path(os.environ[NOTES]).open("a") as file:
            file.write(f"{what} {os.getpid()} {qtasks is app} {id(asyncio.get_running_loop())}\n")


app = QueueTasks("in a process", "memory://")
app.add_plugin(Told())


@app.task(executor=ProcessTaskExecutor)
def pid() -> int:
    return os.getpid()
