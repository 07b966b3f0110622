"""What plugins hear of an outcome: when it is written, once, and of what really was."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core.contract import Envelope, Evicts, Outcome, Storage, TaskRecord
from qtasks_core.errors import Postpone
from qtasks_core.naming import new_uuid
from qtasks_core.worker import worker as worker_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.aio import QueueTasks
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")


class Heard:
    """A plugin that notes what it is told, and what the storage has at that moment."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.records: list[tuple[str, str]] = []
        self.there: list[str | None] = []

    @hookimpl
    def worker_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(type(outcome.verdict).__name__)

    @hookimpl
    async def storage_remove_finished_task(self, storage: Storage, record: TaskRecord) -> None:
        self.records.append((record.task_name, record.status))
        (found,) = await storage.get([record.uuid])
        self.there.append(None if found is None else found.status)


def _register(app: QueueTasks, **implementations: Callable[..., Any]) -> None:
    app.core.triggers.register(
        SimpleNamespace(**{name: hookimpl(function) for name, function in implementations.items()})
    )


async def test_a_final_record_is_told_when_it_is_written(app: QueueTasks, running: Running) -> None:
    """Once each, of tasks that ended well, badly, or were never run; whoever reads it then finds it."""
    heard = Heard()
    app.core.triggers.register(heard)

    @app.task
    async def good() -> None: ...

    @app.task
    async def bad() -> None:
        raise ValueError

    late = await good.with_options(expires=0.001).add_task()
    await asyncio.sleep(0.002)
    async with running(app):
        tasks = [late, await good.add_task(), await bad.add_task()]
        statuses = [(await task.wait(timeout=5)).status for task in tasks]

    assert ["cancel", "success", "error"] == statuses
    assert [("bad", "error"), ("good", "cancel"), ("good", "success")] == sorted(heard.records)
    assert ["cancel", "error", "success"] == sorted(str(one) for one in heard.there)
    assert ["Ack", "Ack", "Dead"] == sorted(heard.outcomes)


async def test_what_is_not_final_is_no_finished_task(app: QueueTasks, running: Running) -> None:
    """Tasks that are put back, parked, or given back at the stop have outcomes, and no final record."""
    heard, begun = Heard(), asyncio.Event()
    app.core.triggers.register(heard)
    postponed = 0

    @app.task
    async def later() -> None:
        nonlocal postponed
        postponed += 1
        raise Postpone(delay=3600)

    @app.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running(app, shutdown_timeout=0.0):
        await later.add_task()
        await app.add_task("unknown")
        await endless.add_task()
        await begun.wait()
        while len(heard.outcomes) < 2:
            await asyncio.sleep(0.001)

    assert 1 == postponed
    assert [] == heard.records
    assert {"Release", "Retry"} == set(heard.outcomes)
    assert 2 == heard.outcomes.count("Release")


async def test_an_outcome_that_came_too_late_is_not_told(app: QueueTasks, running: Running) -> None:
    """A task that was taken over has the outcome of the other run only."""
    heard, begun, go = Heard(), asyncio.Event(), asyncio.Event()
    app.core.triggers.register(heard)
    runs = 0

    @app.task
    async def stubborn() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            begun.set()
            try:
                await go.wait()
            except asyncio.CancelledError:
                await go.wait()
        return runs

    async with running(app) as worker:
        task = await stubborn.add_task()
        await begun.wait()
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        await broker.evict(worker.name)
        await task.wait(timeout=5)
        go.set()

    assert 2 == runs
    assert (["Ack"], [("stubborn", "success")]) == (heard.outcomes, heard.records)


async def test_a_slow_plugin_holds_up_its_own_task_only(app: QueueTasks, running: Running) -> None:
    """Who waits for the result has it at once; the slot is held, so what plugins have to hear is bounded."""
    go, told = asyncio.Event(), 0

    async def slow(record: TaskRecord) -> None:
        nonlocal told
        told += 1
        await go.wait()

    _register(app, storage_remove_finished_task=slow)

    @app.task
    async def job(number: int) -> int:
        return number

    async with running(app, concurrency=2) as worker:
        tasks = await job.add_many([(number,) for number in range(4)])
        assert [0, 1] == [await task.result(timeout=5) for task in tasks[:2]]
        while told < 2:
            await asyncio.sleep(0.001)
        assert (2, 2) == (worker.running, told)
        assert ["new", "new"] == [(await task.refresh()).status for task in tasks[2:]]
        go.set()
        assert [2, 3] == [await task.result(timeout=5) for task in tasks[2:]]

    assert 4 == told


async def test_a_stop_waits_for_plugins_that_hear_of_what_was_written(app: QueueTasks, running: Running) -> None:
    """And the drain is a clean one."""
    told: list[str] = []

    async def slow(record: TaskRecord) -> None:
        await asyncio.sleep(0.05)
        told.append(record.status)

    _register(app, storage_remove_finished_task=slow)

    @app.task
    async def job() -> None: ...

    async with running(app) as worker:
        await job.add_task().wait(timeout=5)
        assert await worker.drain(0.0)
        assert ["success"] == told


async def test_a_plugin_that_hangs_does_not_hold_up_a_stop(
    app: QueueTasks, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has the time of the last flush; the outcome is written, so nothing is given back and nothing is lost."""
    monkeypatch.setattr(worker_module, "_LAST_FLUSH_S", 0.05)
    begun = asyncio.Event()

    async def hang(outcome: Outcome) -> None:
        begun.set()
        await asyncio.Event().wait()

    _register(app, worker_outcome=hang)

    @app.task
    async def job() -> int:
        return 7

    async with running(app) as worker:
        task = await job.add_task()
        await begun.wait()
        assert await worker.drain(0.0)
        await worker.stop()
        assert (0, "success") == (worker.unwritten, (await task.refresh()).status)
    assert [] == [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_what_is_told_is_what_was_written(app: QueueTasks, running: Running) -> None:
    """A result that the server refuses makes its task an error: that is what plugins hear, once."""
    heard = Heard()
    app.core.triggers.register(heard)

    @app.task
    async def job() -> int:
        return 7

    async with running(app) as worker:
        write, refusals = worker._settler._commit._write, 1

        async def refuse(batch: Any) -> Any:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise TypeError("a bug")
            return await write(batch)

        worker._settler._commit._write = refuse
        task = await job.add_task()
        await task.wait(timeout=5)

    assert [("job", "error")] == heard.records
    assert ["Ack"] == heard.outcomes


async def test_a_message_that_nobody_can_read_ends_like_others(app: QueueTasks, running: Running) -> None:
    """It never ran, and is dead: its outcome and its record are told."""
    heard, uuid = Heard(), new_uuid()
    app.core.triggers.register(heard)
    engine = app.core.engine()
    await engine.ensure_started()
    await engine.broker.send([Envelope(uuid, "default", b"junk")])
    async with running(app):
        await app.core.engine().wait(uuid, 5)

    assert (["Dead"], [("", "dead")], ["dead"]) == (heard.outcomes, heard.records, heard.there)
