"""Words for the tests of process tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtasks_core.worker.processes import ProcessTaskExecutor
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.aio import QueueTasks
    from qtasks_core.worker.processes.pool import ProcessPool
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

__all__ = ["declare", "is_alive", "pids_in", "pool_of"]


def declare(app: QueueTasks, function: Callable[..., Any], executor: Any = ProcessTaskExecutor, **options: Any) -> Any:
    """Make a function a task that runs in a process."""
    return app.task(executor=executor, **options)(function)


def pool_of(executor: ProcessTaskExecutor) -> ProcessPool:
    """Return the pool of an executor that was started."""
    assert executor._pool is not None
    return executor._pool


async def pids_in(path: Path) -> list[int]:
    """Wait until a task has written process ids to a file, and return them."""
    await eventually(path.exists, 20.0, f"{path.name} is written")
    return [int(number) for number in path.read_text().split()]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it was reaped meanwhile
        return False
