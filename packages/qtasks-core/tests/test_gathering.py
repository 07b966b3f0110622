"""Waiting for many tasks at once: what is left behind, and what is told of whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.errors import BlockingCallError, ResultExpiredError, TaskFailedError
from qtasks_core.gathering import as_completed, as_completed_blocking, gather, gather_blocking
from qtasks_core.task import BlockingTask, Task


async def _added(app: QueueTasks, count: int) -> list[Any]:
    return [await app.add_task("nobody knows it", number) for number in range(count)]


def _waiting() -> int:
    return sum("Task.wait" in repr(task) or "Task.result" in repr(task) for task in asyncio.all_tasks())


async def test_as_completed_of_nothing_is_empty() -> None:
    """It ends at once."""
    nothing: list[Task[int]] = []

    assert [] == [task async for task in as_completed(nothing)]
    assert [] == await gather(*nothing)


async def test_who_leaves_as_completed_leaves_no_waiter_behind(app: QueueTasks) -> None:
    """Those that have not ended are not waited for any more; the tasks go on."""
    tasks = await _added(app, 5)
    ended = as_completed(tasks)
    waiting = asyncio.ensure_future(anext(ended))
    async with asyncio.timeout(10):
        while 5 != _waiting():
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.wait([waiting])
        await ended.aclose()
        while _waiting():
            await asyncio.sleep(0.001)

    assert "new" == (await tasks[0].refresh()).status
    await app.stop()


@pytest.mark.parametrize("how", ["gather", "as_completed"])
async def test_a_limit_holds_for_all_of_them(app: QueueTasks, how: str) -> None:
    """One limit, not one for each."""
    tasks = await _added(app, 3)

    async def wait() -> None:
        if how == "gather":
            await gather(*tasks, timeout=0.02)
        else:
            async for _ in as_completed(tasks, timeout=0.02):
                pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 10)
    await app.stop()


async def test_what_nobody_keeps_is_told_by_as_completed(app: QueueTasks) -> None:
    """Its end cannot be seen, so it is an error, not a silence."""
    task = await app.with_options(results=False).add_task("t")

    with pytest.raises(ResultExpiredError):
        async for _ in as_completed([task], timeout=10):
            pass
    await app.stop()


async def test_gather_waits_for_nobody_once_one_has_failed(app: QueueTasks, running: Any) -> None:
    """The error is that of the first in time."""

    @app.task
    async def fails(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise ValueError(f"after {seconds}")

    async with running(app):
        late, early = await fails.add_task(30.0), await fails.add_task(0.01)
        with pytest.raises(TaskFailedError, match=r"after 0\.01"):
            await gather(late, early, timeout=10)
        await late.cancel()
        await late.wait(10)


async def test_the_blocking_forms_refuse_a_loop(app: QueueTasks) -> None:
    """With the name of the awaitable one."""
    tasks: list[BlockingTask[Any]] = [BlockingTask(app.core, task.record) for task in await _added(app, 1)]

    with pytest.raises(BlockingCallError, match=r"await qtasks\.asyncio\.gather\(…\) instead"):
        gather_blocking(*tasks)
    with pytest.raises(BlockingCallError, match=r"await qtasks\.asyncio\.as_completed\(…\) instead"):
        next(iter(as_completed_blocking(tasks)))
    await app.stop()
