"""Waiting for many tasks at once, in an awaitable and a blocking form."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from qtasks_core.portal import blocking_iterator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from qtasks_core.task import BlockingTask, Task

__all__ = ["as_completed", "as_completed_blocking", "gather", "gather_blocking"]

R = TypeVar("R")


async def gather(*tasks: Task[R], timeout: float | None = None) -> list[R]:
    """Wait for all tasks and return their values in the order of the tasks.

    Parameters:
        tasks: What `await add_task(…)` or `add_many` returned.
        timeout: Seconds for all of them; None waits without limit.

    Raises:
        ResultError: Of the first task, in time, that did not succeed; the others go on.
        TimeoutError: Not all ended in time.
    """
    async with asyncio.timeout(timeout):
        return list(await asyncio.gather(*(task.result() for task in tasks)))


async def as_completed(tasks: Iterable[Task[R]], timeout: float | None = None) -> AsyncGenerator[Task[R], None]:
    """Yield each task when it has ended, however it ended.

    Parameters:
        tasks: What `await add_task(…)` or `add_many` returned.
        timeout: Seconds for all of them; None waits without limit.

    Raises:
        TimeoutError: Not all ended in time.
        ResultExpiredError: Nobody keeps the record of one.
    """
    waiting = {asyncio.ensure_future(task.wait()) for task in tasks}
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    try:
        while waiting:
            left = None if deadline is None else deadline - asyncio.get_running_loop().time()
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise TimeoutError(f"{len(waiting)} tasks did not end in time")
            for one in done:
                yield one.result()
    finally:
        for one in waiting:
            one.cancel()


def gather_blocking(*tasks: BlockingTask[R], timeout: float | None = None) -> list[R]:
    """Wait for all tasks and return their values in the order of the tasks; see `gather`."""
    if not tasks:
        return []

    async def wait() -> list[R]:
        return await gather(*(task.aio for task in tasks), timeout=timeout)

    return tasks[0].app.portal.call(wait, hint="qtasks.asyncio.gather(…)")


def as_completed_blocking(tasks: Iterable[BlockingTask[R]], timeout: float | None = None) -> Iterator[BlockingTask[R]]:
    """Yield each task when it has ended, however it ended; see `as_completed`."""
    twins = {task.uuid: task for task in tasks}
    if not twins:
        return
    portal = next(iter(twins.values())).app.portal
    ended = as_completed([task.aio for task in twins.values()], timeout)
    for twin in blocking_iterator(portal, ended, "qtasks.asyncio.as_completed(…)"):
        yield twins[twin.uuid].renewed(twin)
