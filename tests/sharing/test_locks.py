"""Locks whose holders die or stand still: free in time, and nothing is written by who has lost one."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qtasks.asyncio import QueueTasks
from qtasks_testing.polling import eventually
from qtasks_testing.processes import WorkerProcess
from sharing.app import LOCK_TTL_S, Counter
from sharing.place import EVERYWHERE

pytestmark = pytest.mark.timeout(120)


@EVERYWHERE
async def test_the_lock_of_a_killed_holder_is_free_after_its_time(
    start: Callable[..., WorkerProcess],
    client: QueueTasks,
    notes: Callable[[], list[str]],
    record_property: Callable[[str, object], None],
) -> None:
    """At the latest: it is told that within that time, and asserted at three times it."""
    worker = start()
    await client.add_task("hold")
    await eventually(lambda: bool(notes()), 30, "the lock is held")
    worker.kill()
    killed = time.monotonic()
    async with Counter.of(client).lock("door", ttl=20.0, timeout=3 * LOCK_TTL_S):
        waited_s = time.monotonic() - killed
    record_property("waited_s", round(waited_s, 2))
    print(f"a killed holder's lock with ttl {LOCK_TTL_S} s was free after {waited_s:.2f} s")


@EVERYWHERE
@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_holder_that_stood_still_writes_no_more(
    start: Callable[..., WorkerProcess],
    client: QueueTasks,
    notes: Callable[[], list[str]],
    tmp_path: Path,
    is_taken: bool,
) -> None:
    """It goes on when its time is over: its write is refused, whether or not somebody else has taken the lock."""
    go_on, state = tmp_path / "go on", Counter.of(client)
    worker = start()
    task = await client.add_task("write_late", str(go_on))
    await eventually(lambda: bool(notes()), 30, "the lock is held")
    await _pause_between_writes(worker, client)
    stopped = time.time()
    if is_taken:
        async with state.lock("door", ttl=20.0, timeout=30.0):
            await state.set("count", 7)
    await eventually(lambda: time.time() > stopped + LOCK_TTL_S, 30, "its time is over")
    go_on.touch()
    worker.resume()

    assert "StateLockLostError" == await task.result()
    assert (7 if is_taken else 0) == await state.get("count")


async def _pause_between_writes(worker: WorkerProcess, client: QueueTasks) -> None:
    """Have it stand still while it writes nothing: in the middle of a write it would keep all others off a file."""
    while True:
        worker.pause()
        try:
            async with asyncio.timeout(2.0):
                await Counter.of(client, "probe").increment("count")
        except TimeoutError:
            worker.resume()
        else:
            return
