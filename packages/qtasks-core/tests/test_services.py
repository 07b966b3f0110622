"""What a worker does for its runs: progress marks that are conflated, and components by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.contract import Event
from qtasks_core.naming import new_uuid
from qtasks_core.task import Progress
from qtasks_core.worker.services import Services


class Bench:
    """Services whose events the test writes when it likes."""

    def __init__(self, app: QueueTasks) -> None:
        engine = app.core.engine()
        engine.storage.append = self._append  # type: ignore[method-assign]  # the test's own
        self.events: list[Event] = []
        self.go_on = asyncio.Event()
        self.engine = engine
        self.services = Services(app.core, engine, "the worker", "the executor")
        self.execution: Any = SimpleNamespace(
            uuid=new_uuid(), run_id=(1, 0, 5.0), seq=iter(range(1, 10**9)), progress=None
        )

    async def _append(self, batch: Sequence[Event]) -> Sequence[Exception | None]:
        self.events.extend(batch)
        await self.go_on.wait()
        return [None] * len(batch)

    def mark(self, done: float) -> None:
        self.services.mark_progress(self.execution, done, 10, f"step {done:g}")

    def marks(self) -> list[float]:
        return [msgspec.msgpack.decode(event.value, type=Progress).done for event in self.events]


@pytest.fixture
async def bench(app: QueueTasks) -> AsyncIterator[Bench]:
    """Give services; they are closed after the test."""
    one = Bench(app)
    yield one
    one.go_on.set()
    await one.services.close()
    await app.stop()


async def until(condition: Any) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_marks_are_conflated_while_one_is_on_its_way(bench: Bench) -> None:
    """The first is sent at once, of those that come meanwhile the last, and nothing after that."""
    bench.mark(1)
    await until(lambda: bench.events)
    for done in range(2, 100):
        bench.mark(done)
    await asyncio.sleep(0.01)
    assert [1] == bench.marks()

    bench.go_on.set()
    await until(lambda: 2 == len(bench.events))
    await asyncio.sleep(0.01)

    assert [1, 99] == bench.marks()
    assert Progress(99, 10, "step 99") == msgspec.msgpack.decode(bench.execution.progress, type=Progress)
    assert {} == bench.services._sending


async def test_a_burst_in_one_step_sends_its_last(bench: Bench) -> None:
    """Nobody could have seen the others."""
    bench.go_on.set()
    for done in range(50):
        bench.mark(done)
    await until(lambda: bench.events)
    await asyncio.sleep(0.01)

    assert [49] == bench.marks()


async def test_marks_come_from_any_thread(bench: Bench) -> None:
    """In the order in which they were made, as far as they are sent."""
    bench.go_on.set()

    def work() -> None:
        for done in range(200):
            bench.mark(done)

    await asyncio.to_thread(work)
    await until(lambda: bench.marks()[-1:] == [199])

    assert bench.marks() == sorted(bench.marks())
    assert {("progress", bench.execution.uuid)} == {(event.kind, event.uuid) for event in bench.events}


async def test_each_component_is_had_by_its_name(bench: Bench, app: QueueTasks) -> None:
    """A wrong one is told with those that there are."""
    services, engine = bench.services, bench.engine
    expected = {
        "broker": engine.broker,
        "storage": engine.storage,
        "global_config": engine.shared_memory,
        "worker": "the worker",
        "task_executor": "the executor",
        "starter": app.starter,
    }

    assert expected == {name: services.component(name) for name in expected}
    with pytest.raises(KeyError, match=r"expected one of broker, storage, .*, starter, got 'wroker'"):
        services.component("wroker")


async def test_the_app_is_the_face_that_the_user_made(bench: Bench, app: QueueTasks) -> None:
    """With its name, its tasks, its settings."""
    assert app is bench.services.app

    app.core.face = None
    with pytest.raises(RuntimeError, match="this app has no face"):
        _ = bench.services.app
