"""Calls that are given up half-way, while another process holds the file: nothing is torn, nothing is stranded."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from faults.scene import PATIENCE_S
from qtasks.asyncio import QueueTasks
from qtasks.exceptions import ResultExpiredError
from qtasks_core.naming import new_uuid
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from uuid import UUID

    from faults.scene import Scene

ONCE = {"QTASKS_MAX_DELIVERIES": "1"}  # what was charged to anybody would be dead


async def _signature(key: str) -> int:
    """Stand for the task's code, which only the workers have."""
    raise NotImplementedError


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[QueueTasks]:
    one = QueueTasks("faults", f"sqlite:///{tmp_path}/faults.db")
    await one.core.engine().ensure_started()
    yield one
    await one.stop()


@contextlib.contextmanager
def _held(scene: Scene) -> Iterator[None]:
    """Hold the file, as a process does that is in the middle of a transaction: reading goes on, writing waits."""
    with contextlib.closing(sqlite3.connect(scene.folder / "faults.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def _is_there(app: QueueTasks, uuid: UUID) -> bool:
    try:
        await app.get(uuid)
    except ResultExpiredError:
        return False
    return True


async def test_a_cancelled_add_tears_nothing(app: QueueTasks, scene: Scene) -> None:
    """The caller is out at once; the write goes on, its mates are safe, and what no write held is not added."""
    work = app.task(name="work")(_signature)
    adds = app.core.engine()._adds
    uuids = [new_uuid() for _ in range(20)]

    async def add(number: int) -> Any:
        return await work.with_options(uuid=uuids[number]).add_task(str(number))

    with _held(scene):
        calls = [asyncio.create_task(add(number)) for number in range(10)]
        await eventually(lambda: adds._flusher is not None and not len(adds), PATIENCE_S, "a write holds the first ten")
        calls += [asyncio.create_task(add(number)) for number in range(10, 20)]
        await eventually(lambda: 10 == len(adds), PATIENCE_S, "the others wait for the next write")
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls[::2], timeout=PATIENCE_S)
        assert [True, False] * 10 == [call.cancelled() for call in calls]
        assert not any(call.done() for call in calls[1::2])
    kept = [await call for call in calls[1::2]]
    scene.worker("a")
    for task in kept:
        await task.result(PATIENCE_S)
    there = [await _is_there(app, uuid) for uuid in uuids]
    for uuid, is_there in zip(uuids, there, strict=True):
        if is_there:
            await (await app.get(uuid)).result(PATIENCE_S)

    assert [True] * 10 == there[1::2]
    assert [False] * 5 == there[10::2]
    assert {str(number): 1 for number in range(20) if there[number]} == scene.ledger.counts("start")


async def test_a_cancelled_receive_strands_nothing(app: QueueTasks, scene: Scene) -> None:
    """Cancelled while its claim waits for the file, again and again: another worker gets all, nothing is charged."""
    work = app.task(name="work")(_signature)
    tasks = await work.add_many([(str(number),) for number in range(10)])
    broker = app.core.engine().broker
    await broker.subscribe(("default",), "taker", 10, lambda _: None)
    for turns in range(12):
        with _held(scene):
            receiving = asyncio.ensure_future(broker.receive(10))
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving], timeout=PATIENCE_S)
            assert receiving.cancelled()

    async def all_wait() -> bool:
        depth = await broker.depth("default")
        return (10, 0) == (depth.ready, depth.running)

    await eventually(all_wait, PATIENCE_S, "all wait")
    await broker.subscribe((), "taker", 10, lambda _: None)
    worker = scene.worker("a", env=ONCE)
    assert {worker.pid} == {await task.result(PATIENCE_S) for task in tasks}
    assert {str(number): 1 for number in range(10)} == scene.ledger.counts("start")


FORGETFUL = """
import asyncio
from faults.tasks import app, work

async def main() -> None:
    work.aio.add_task("forgotten")
    await work.aio.add_task("awaited")
    await app.aio.stop()

asyncio.run(main())
"""


async def test_an_add_that_is_never_awaited_sends_nothing_and_warns(app: QueueTasks, scene: Scene) -> None:
    """A whole process of its own: the warning names the task, and nothing but the other one is in the file."""
    command = [sys.executable, "-c", FORGETFUL]
    done = subprocess.run(
        command, cwd=scene.folder, env=scene.environment(), capture_output=True, text=True, check=True
    )
    worker = scene.worker("a")
    last = await app.add_task("work", "last")
    assert worker.pid == await last.result(PATIENCE_S)

    assert "RuntimeWarning: add_task of 'work' was never awaited: nothing was sent" in done.stderr
    assert {"awaited": 1, "last": 1} == scene.ledger.counts("end")
