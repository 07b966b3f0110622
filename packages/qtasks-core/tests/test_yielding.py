"""Generator tasks: what is yielded is numbered, bounded, written, and handed back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from qtasks_core.contract import Event
from qtasks_core.errors import RefusedError, SendRefusedError, TaskCancelError
from qtasks_core.group_commit import BufferLimits, GroupCommit
from qtasks_core.naming import new_uuid
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.worker.yielding import Yields, run_async_generator, run_generator

LIMITS = BufferLimits(512, 1 << 20, 10_000, 1 << 25, 30.0)
WINDOW = 512


class Storage:
    """Keeps what is appended; may be slow, or refuse."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.commit: GroupCommit[Event] = GroupCommit(self._append, LIMITS, "values")

    async def _append(self, batch: Sequence[Event]) -> Sequence[Exception | None]:
        await self.go_on.wait()
        if self.error is None:
            self.events.extend(batch)
        return [self.error] * len(batch)

    def values(self) -> list[Any]:
        decode = DEFAULT_SERIALIZER.decoder(Any)
        return [decode(event.value[event.value.index(b"\x00") + 1 :]) for event in self.events]


def _execution() -> Any:
    return SimpleNamespace(uuid=new_uuid(), run_id=(1, 0, 5.0), seq=iter(range(1, 10**9)), is_truncated=False)


class Bench:
    """One run and its yields."""

    def __init__(self, most: int = 10) -> None:
        self.storage = Storage()
        self.execution = _execution()
        self.yields = Yields(self.execution, self.storage.commit, DEFAULT_SERIALIZER, most)
        self.is_stopped = False

    async def drive(self, generator: Any, handler: Callable[[Any], Any] | None = None) -> Any:
        """Drive a generator of either kind as an executor does."""
        async with self.yields as yields:
            if hasattr(generator, "asend"):
                return await run_async_generator(generator, handler, yields)
            returned = await asyncio.to_thread(run_generator, generator, handler, yields, lambda: self.is_stopped)
            return yields.result(returned)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a run; what is not written is given up after the test."""
    one = Bench()
    yield one
    await one.storage.commit.close()


def numbers(count: int) -> Any:
    """Yield numbers in a thread."""
    yield from range(count)


async def numbers_on_loop(count: int) -> Any:
    """Yield numbers on the loop."""
    for number in range(count):
        yield number


both = pytest.mark.parametrize("make", [numbers, numbers_on_loop])


@both
async def test_events_carry_run_and_number(bench: Bench, make: Any) -> None:
    """From 1, without a gap, of the run that yielded them."""
    assert [0, 1, 2] == await bench.drive(make(3))

    assert [1, 2, 3] == [event.seq for event in bench.storage.events]
    assert {(bench.execution.uuid, (1, 0, 5.0), "yield")} == {
        (event.uuid, event.run, event.kind) for event in bench.storage.events
    }


@both
async def test_the_result_keeps_the_first_values_only(bench: Bench, make: Any) -> None:
    """As many as it may; the run says that there were more."""
    assert list(range(10)) == await bench.drive(make(10))
    assert not bench.execution.is_truncated

    more = Bench()
    assert list(range(10)) == await more.drive(make(11))
    assert more.execution.is_truncated
    assert 11 == len(more.storage.events)
    await more.storage.commit.close()


async def test_a_returned_value_is_not_truncated(bench: Bench) -> None:
    """However much was yielded; a falsy one counts too, None does not."""

    def zero() -> Any:
        yield from range(20)
        return 0

    assert 0 == await bench.drive(zero())
    assert not bench.execution.is_truncated


@both
async def test_it_is_never_more_than_a_window_ahead(bench: Bench, make: Any) -> None:
    """Of what the storage has answered; then it waits, and goes on when there is room."""
    bench.storage.go_on.clear()
    running = asyncio.ensure_future(bench.drive(make(2000)))
    before = -1
    while before != bench.yields._count:
        before = bench.yields._count
        await asyncio.sleep(0.05)
    assert WINDOW + 1 == bench.yields._count

    bench.storage.go_on.set()
    await asyncio.wait_for(running, 10)

    assert 2000 == len(bench.storage.events)


@both
async def test_a_storage_that_refuses_fails_the_run(bench: Bench, make: Any) -> None:
    """The next value, or the end, raises what it said."""
    bench.storage.error = RefusedError("too large")

    with pytest.raises(SendRefusedError, match="too large"):
        await asyncio.wait_for(bench.drive(make(3)), 10)
    with pytest.raises(SendRefusedError, match="too large"):
        await asyncio.wait_for(bench.drive(make(5000)), 10)


@both
async def test_the_runs_own_error_is_not_hidden_by_the_storages(bench: Bench, make: Any) -> None:
    """What the task raised is what its record tells."""
    bench.storage.error = RefusedError("too large")

    def handler(value: int) -> int:
        if value == 1:
            raise ValueError("of the task")
        return value

    with pytest.raises(ValueError, match="of the task"):
        await asyncio.wait_for(bench.drive(make(3), handler), 10)


async def test_a_generator_that_is_asked_to_stop_ends_before_its_next_value(bench: Bench) -> None:
    """It is closed in its own thread, and its cleanup runs."""
    seen: list[Any] = []

    def endless() -> Any:
        try:
            while True:
                yield len(seen)
                seen.append(threading.get_ident())
                bench.is_stopped = len(seen) == 3
        finally:
            seen.append("closed")

    with pytest.raises(TaskCancelError, match="cancelled between two values"):
        await asyncio.wait_for(bench.drive(endless()), 10)

    assert 4 == len(seen)
    assert "closed" == seen[-1]
    assert 3 == len(bench.storage.events)


async def test_a_thread_that_is_left_yields_no_more(bench: Bench) -> None:
    """Its run is over, the record is written: what it would still yield belongs to nobody."""
    closed, go_on = threading.Event(), threading.Event()

    def slow() -> Any:
        try:
            yield 1
            go_on.wait(10)
            yield 2
        finally:
            closed.set()

    running = asyncio.ensure_future(bench.drive(slow()))
    async with asyncio.timeout(10):
        while not bench.storage.events:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
        go_on.set()
        while not closed.is_set():
            await asyncio.sleep(0.001)

    assert running.cancelled()
    assert [1] == [event.seq for event in bench.storage.events]


async def test_an_async_generator_is_closed_when_its_run_is_cancelled(bench: Bench) -> None:
    """Where it stands; its cleanup may await."""
    seen: list[str] = []

    async def waits() -> Any:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    running = asyncio.ensure_future(bench.drive(waits()))
    async with asyncio.timeout(10):
        while not bench.storage.events:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running], timeout=10)

    assert running.cancelled()
    assert ["closed"] == seen


async def test_an_async_handler_runs_on_the_loop(bench: Bench) -> None:
    """Also for a generator in a thread, whose yield waits for it; what it raises is raised there."""
    loop, threads = asyncio.get_running_loop(), set[bool]()

    async def handler(value: int) -> int:
        threads.add(asyncio.get_running_loop() is loop)
        await asyncio.sleep(0)
        if value == 2:
            raise ValueError("not two")
        return value * 10

    caught: list[str] = []

    def asking() -> Any:
        try:
            yield from range(5)
        except GeneratorExit:
            caught.append("closed")
            raise

    with pytest.raises(ValueError, match="not two"):
        await asyncio.wait_for(bench.drive(asking(), handler), 10)

    assert {True} == threads
    assert ["closed"] == caught
    assert 2 == len(bench.storage.events)
