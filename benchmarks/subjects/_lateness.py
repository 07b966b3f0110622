"""How late tasks begin that are due at a time: one worker on any URL, with a free slot for each of them."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time

from qtasks.asyncio import QueueTasks

__all__ = ["lateness"]

PER_S = 200  # tasks that are due in a second
LEAD_S = 1.0  # all are added before the first is due: so much, and a part of the time that they are spread over
LEAD_PART = 0.4
SLOTS = 100
PATIENCE_S = 60.0


def lateness(url: str, tasks: int) -> dict[str, float]:
    """Add so many tasks that are due at random times, two hundred a second, and tell how late they began.

    Parameters:
        url: The broker's; the worker runs in this process.
        tasks: How many.

    Raises:
        RuntimeError: One ran early, or the adding took so long that some were due before the last was added.
    """
    late = sorted(asyncio.run(_run(url, tasks)))
    if late[0] < 0:
        raise RuntimeError(f"a task ran {-late[0] * 1000:.1f} ms before its time")
    at = {"late_p50_ms": 0.5, "late_p99_ms": 0.99, "late_most_ms": 1.0}
    return {figure: 1000 * late[min(int(len(late) * part), len(late) - 1)] for figure, part in at.items()}


async def _run(url: str, tasks: int) -> list[float]:
    app = QueueTasks(broker_url=url)
    began: dict[int, float] = {}

    @app.task(name="due")
    async def due(number: int) -> None:
        began[number] = time.time()

    async with app, app.worker(concurrency=SLOTS):
        spread = tasks / PER_S
        first = time.time() + LEAD_S + LEAD_PART * spread
        dues = [first + spread * random.random() for _ in range(tasks)]
        calls = (due.with_options(eta=dt.datetime.fromtimestamp(at, dt.UTC)).add_task(n) for n, at in enumerate(dues))
        handles = await asyncio.gather(*calls)
        if time.time() >= first:
            raise RuntimeError(f"adding {tasks} tasks took until the first was due")
        for handle in handles:
            await handle.result(timeout=PATIENCE_S)
    return [began[number] - at for number, at in enumerate(dues)]
