"""What only other workers can run: parked, while everything else goes on; run by who can, or dead after its time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from damage.bench import Bench, body_of
from qtasks.exceptions import TaskDeadError
from qtasks_core.contract import Message
from qtasks_core.wire import MAGIC, pack_message
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from qtasks_testing.processes import WorkerProcess

MAJOR = MAGIC + b"\x02\x00\x00\x00" + b"written by the next major version"
SIGNED = MAGIC + b"\x01\x00\x01\x07" + body_of("innocent", 1)[6:]
STRANGERS = {
    "name": (body_of("stranger", 1), "no worker knows the task name 'stranger'"),
    "major": (MAJOR, "expected wire major 1, got 2"),
    "flags": (SIGNED, "expected no flags, got 0x01"),
    "codec": (
        pack_message(Message("innocent", b"1", b"", "morse")),
        "expected one of the codecs msgpack, json, got 'morse'",
    ),
}
NEW_APP = """
from qtasks import QueueTasks
from qtasks_core.config import QueueConfig
app = QueueTasks("damage", "sqlite:///damage.db", config=QueueConfig(park_delay=0.05))

@app.task
def innocent(number: int) -> int:
    return number * 2
"""
NEWER_APP = (
    NEW_APP
    + """
@app.task
def stranger(number: int) -> int:
    return number * 3
"""
)


async def _rests(bench: Bench, *uuids: UUID) -> None:
    """Wait until all of these are held back, and nothing else is there."""

    async def parked() -> bool:
        depth = await bench.depth()
        return (0, len(uuids), 0) == (depth.ready, depth.delayed, depth.running)

    await eventually(parked, what="parked", interval_s=0.001)


@pytest.mark.parametrize("kind", STRANGERS)
async def test_it_rests_while_everything_else_goes_on(
    bench: Bench, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Put back again and again as attempt 1 with status new; the log says so once; all tasks beside it run."""
    body, reason = STRANGERS[kind]
    async with bench.worker(concurrency=1):
        stranger = await bench.app.get(await bench.inject(body))
        for _ in range(5):
            await _rests(bench, stranger.uuid)
            assert 6 == await bench.app.add_task("innocent", 3).result(timeout=10)
        await _rests(bench, stranger.uuid)
        await stranger.refresh()

    assert 1 == stranger.attempt
    assert stranger.status in {"new", "process"}  # a worker may look at it at this very moment
    assert 1 == caplog.text.count(f"task {stranger.uuid} is parked for other workers: {reason}")


@pytest.mark.parametrize("kind", STRANGERS)
async def test_it_is_dead_when_its_time_is_over(url: str, kind: str) -> None:
    """After unknown_ttl, not before; who waits gets TaskDeadError, and the dead letter has body and reason."""
    bench = Bench(url, unknown_ttl=0.2)
    body, reason = STRANGERS[kind]
    async with bench.worker():
        added_at = time.time()
        task = await bench.app.get(await bench.inject(body))
        with pytest.raises(TaskDeadError, match=f"is dead: {reason}"):
            await task.result(timeout=20)
        letters = await bench.letters()
        await bench.is_settled()

    assert "dead" == task.status
    assert [(body, task.reason)] == list(letters.values())
    assert task.finished_at is not None
    assert 0.2 <= task.finished_at - added_at


async def test_many_strangers_do_not_hold_up_a_task(bench: Bench) -> None:
    """A deploy that puts hundreds of unknown tasks before a known one: it runs, and none of them is lost."""
    async with bench.worker(concurrency=2):
        strangers = await bench.inject_many([body for body, _ in STRANGERS.values()] * 50)
        for number in range(20):
            assert number * 2 == await bench.app.add_task("innocent", number).result(timeout=20)
        assert 0 == (await bench.depth()).dead

        async def all_rest() -> bool:
            depth = await bench.depth()
            return len(strangers) == sum(count or 0 for count in (depth.ready, depth.delayed, depth.running))

        await eventually(all_rest, what="all strangers still there")


async def test_a_worker_that_knows_it_runs_it_as_the_same_attempt(bench: Bench) -> None:
    """The old worker put it back, the new one runs it: attempt 1, not one more."""
    async with bench.worker("old"):
        task = await bench.app.add_task("stranger", 7)
        await _rests(bench, task.uuid)

    @bench.app.task(name="stranger")
    async def stranger(number: int) -> int:
        return number * 3

    async with bench.worker("new"):
        assert 21 == await task.result(timeout=20)

    assert (1, "new", "success") == (task.attempt, task.worker, task.status)


async def test_a_rolling_deploy_loses_nothing(
    sqlite_bench: Callable[..., Bench], worker_process: Callable[..., WorkerProcess]
) -> None:
    """An old and a new worker side by side, as processes: each task ends on one that knows it, at its first attempt."""
    bench = sqlite_bench()
    folder = bench.path.parent
    (folder / "old.py").write_text(NEW_APP)
    (folder / "new.py").write_text(NEWER_APP)
    old = worker_process("old", name="old")
    tasks = [await bench.app.add_task(("stranger", "innocent")[number % 2], number) for number in range(40)]
    assert [number * 2 for number in range(1, 40, 2)] == [await task.result(timeout=20) for task in tasks[1::2]]
    worker_process("new", name="new")

    assert [number * 3 for number in range(0, 40, 2)] == [await task.result(timeout=20) for task in tasks[::2]]
    assert {("new", 1)} == {(task.worker, task.attempt) for task in tasks[::2]}
    assert 0 == old.stop()
    await bench.app.stop()
