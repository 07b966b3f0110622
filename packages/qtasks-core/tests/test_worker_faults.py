"""A worker whose server answers with errors: it says what is wrong, loses no slot, and goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.components import Sources
from qtasks_core.errors import RefusedError, SendUnknownError, UnavailableError
from qtasks_core.memory import MemoryBroker, MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Delivery, TaskRecord
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


class _Storage(MemoryStorage):
    """Its marks fail as told; then they work."""

    failures: tuple[Exception, ...] = ()

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        if self.failures:
            failure, *rest = self.failures
            self.failures = tuple(rest)
            raise failure
        return await super().mark(batch)


class _Broker(MemoryBroker):
    """Its receive() fails as told; then it works."""

    failures: tuple[Exception, ...] = ()

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        if self.failures:
            failure, *rest = self.failures
            self.failures = tuple(rest)
            raise failure
        return await super().receive(limit, per_queue)


def _flaky() -> tuple[QueueTasks, _Broker, _Storage]:
    app = QueueTasks("test", "memory://")
    context = app.core.new_context()
    broker, storage = _Broker("memory://", context), _Storage("memory://", context)
    app.core.sources = Sources(broker_url="memory://", broker=broker, storage=storage)
    app.core._spare = None
    return app, broker, storage


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (UnavailableError("down"), "the storage is away: down; suspects wait"),
        (SendUnknownError("cut"), "the storage is away: cut; suspects wait"),
        (RefusedError("no"), "suspects could not be marked: they run all the same"),
        (ZeroDivisionError(), "suspects could not be marked: they run all the same"),
    ],
)
async def test_what_may_be_a_duplicate_runs_in_the_end(
    running: Running, caplog: pytest.LogCaptureFixture, failure: Exception, said: str
) -> None:
    """A server that is away is waited for; what it can never answer is not: rather twice than never."""
    app, broker, storage = _flaky()
    begun = asyncio.Event()
    runs = 0

    @app.task
    async def work() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            begun.set()
            await asyncio.Event().wait()
        return runs

    async with running(app) as worker:
        task = await work.add_task()
        await begun.wait()
        storage.failures = (failure,)
        await broker.evict(worker.name)
        assert 2 == await task.result(timeout=10)

    assert said in caplog.text


async def test_a_refused_claim_is_told_and_tried_again(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """In one line: the server's words are the message, and a traceback would show our own code."""
    app, broker, _ = _flaky()
    broker.failures = (RefusedError("the file is damaged"), RefusedError("the file is damaged"))

    @app.task
    async def work() -> int:
        return 7

    async with running(app):
        assert 7 == await work.add_task().result(timeout=10)

    assert 2 == caplog.text.count("taking tasks failed: the file is damaged; trying again")
    assert [] == [record for record in caplog.records if record.exc_info]


async def test_a_mark_that_is_refused_costs_one_line(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """A mark is a courtesy: the task runs to its end without it."""
    app, _, storage = _flaky()
    storage.failures = (RefusedError("the file is damaged"),)
    go = asyncio.Event()

    @app.task
    async def work() -> int:
        await go.wait()
        return 7

    async with running(app):
        task = await work.add_task()
        while not caplog.text:
            await asyncio.sleep(0.01)
        go.set()
        assert 7 == await task.result(timeout=10)

    assert ["running tasks could not be marked: the file is damaged"] == caplog.messages
