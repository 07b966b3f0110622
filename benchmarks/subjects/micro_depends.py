"""What dependencies cost a task: none, one of the worker's scope, one of its own, and the same entered by hand."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from _subject import main
from micro_memory import Count, drain

from qtasks.asyncio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_depends import Depends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path


def not_there(_: Path, tasks: int) -> dict[str, float]:
    """Work off tasks without dependencies, where the plugin is blocked."""
    os.environ["QTASKS_DISABLE_PLUGINS"] = "*"
    return _drain(_counting, tasks)


def none(_: Path, tasks: int) -> dict[str, float]:
    """Do the same where it is installed."""
    return _drain(_counting, tasks)


def of_worker(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with a dependency of the worker's scope."""

    def declare(count: Callable[[], None]) -> Any:
        async def counted(number: int, db: Any = OF_WORKER) -> int:  # noqa: ARG001  # it is provided
            count()
            return number

        return counted

    return _drain(declare, tasks)


def of_task(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with an async generator of the task's scope."""

    def declare(count: Callable[[], None]) -> Any:
        async def counted(number: int, db: Any = OF_TASK) -> int:  # noqa: ARG001  # it is provided
            count()
            return number

        return counted

    return _drain(declare, tasks)


def by_hand(_: Path, tasks: int) -> dict[str, float]:
    """No dependency: the task enters and leaves the same generator itself."""
    manager = asynccontextmanager(get_db)

    def declare(count: Callable[[], None]) -> Any:
        async def counted(number: int) -> int:
            async with manager():
                count()
                return number

        return counted

    return _drain(declare, tasks)


async def get_db() -> AsyncGenerator[object]:
    yield object()


OF_WORKER, OF_TASK = Depends(get_db, scope="worker"), Depends(get_db)


def _counting(count: Callable[[], None]) -> Any:
    async def counted(number: int) -> int:
        count()
        return number

    return counted


def _drain(declare: Callable[[Callable[[], None]], Any], tasks: int) -> dict[str, float]:
    app, count = QueueTasks(broker_url="memory://", config=QueueConfig(concurrency=100)), Count(tasks)
    app.task(declare(lambda: count.add(app)))
    return drain(app, count)


if __name__ == "__main__":
    main({"not_there": not_there, "none": none, "of_worker": of_worker, "of_task": of_task, "by_hand": by_hand})
