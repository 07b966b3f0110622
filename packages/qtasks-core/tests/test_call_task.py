"""`call_task`: one task as a worker calls it, and no broker."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core import aio, blocking
from qtasks_core.errors import ArgumentError, BlockingCallError, CodecError, TaskCancelError, TaskTimeoutError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, current_context
from qtasks_core.testing import call_task, memory_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from qtasks_core.contract import Execution
    from qtasks_core.options import Draft


@pytest.fixture
def app() -> aio.QueueTasks:
    """Return an app whose own broker, a further memory, must not be touched."""
    return aio.QueueTasks("tested", "memory://own")


@pytest.fixture
def shop() -> blocking.QueueTasks:
    return blocking.QueueTasks("tested", "memory://own")


async def test_arguments_and_result_are_what_a_worker_makes_of_them(app: aio.QueueTasks) -> None:
    """Encoded, decoded, converted to the annotations, each way: what cannot travel is found."""

    @app.task
    async def following(day: dt.date, *, days: int = 1) -> dt.date:
        assert isinstance(day, dt.date)
        return day + dt.timedelta(days)

    assert dt.date(2024, 3, 1) == await call_task(following, dt.date(2024, 2, 28), days=2)
    with pytest.raises(ArgumentError, match=r"parameter 'days': Expected `int`, got `str`"):
        await call_task(following, dt.date(2024, 2, 28), days="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"following\(\) missing"):
        await call_task(following)  # type: ignore[call-overload]
    with pytest.raises(CodecError, match="arguments"):
        await call_task(following, object())  # type: ignore[call-overload]


async def test_a_result_that_cannot_travel_is_an_error(app: aio.QueueTasks) -> None:
    """As it would be in production."""

    @app.task
    async def bad() -> Any:
        return object()

    with pytest.raises(CodecError, match="result"):
        await call_task(bad)


async def test_what_the_task_raises_is_raised(app: aio.QueueTasks) -> None:
    """The exception itself, with its traceback; it is not tried again."""
    tries: list[int] = []

    @app.task(retry=5)
    async def broken() -> None:
        tries.append(1)
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here") as caught:
        await call_task(broken)
    assert [1] == tries
    assert "broken" == caught.traceback[-1].name


def test_a_def_runs_in_a_thread(shop: blocking.QueueTasks) -> None:
    """As in a worker; the test blocks meanwhile."""

    @shop.task
    def where(x: int) -> tuple[int, str]:
        return x, threading.current_thread().name

    assert (1, "qtasks-task-1") == call_task(where, 1)
    assert isinstance(call_task(where, x=2), tuple)
    shop.stop()


async def test_a_task_of_the_blocking_face_in_a_test_that_awaits(shop: blocking.QueueTasks) -> None:
    """By its `aio`, which the error names."""

    @shop.task
    def double(x: int) -> int:
        return 2 * x

    with pytest.raises(BlockingCallError, match=r"call_task\(task\.aio, …\)"):
        call_task(double, 1)
    assert 4 == await call_task(double.aio, 2)


async def test_it_has_its_context(app: aio.QueueTasks) -> None:
    """By echo, by annotation and by current_context(); options of the call are in it; the test has none after it."""

    @app.task(echo=True)
    async def told(self: AsyncTaskContext, text: str) -> list[Any]:
        assert current_context() is self
        return [text, self.task_name, self.attempt, dict(self.headers), self.priority]

    @app.task(echo=True)
    def in_thread(ctx: BlockingTaskContext) -> bool:
        return ctx.app is app

    called = told.with_options(headers={"tenant": "a"}, priority=3)
    assert ["x", "told", 1, {"tenant": "a"}, 3] == await call_task(called, "x")
    assert await call_task(in_thread)
    with pytest.raises(RuntimeError):
        current_context()


class _Noting(TaskMiddleware):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def add(self, draft: Draft) -> None:
        self.notes.append(f"{self.name} add {draft.task_name}")

    def before(self, execution: Execution) -> None:
        self.notes.append(f"{self.name} before {execution.args}")

    async def after(self, execution: Execution, result: Any) -> Any:
        self.notes.append(f"{self.name} after")
        return result + 1

    def result(self, task: Any, value: Any) -> Any:
        self.notes.append(f"{self.name} result")
        return value * 10


async def test_its_middlewares_are_around_it(app: aio.QueueTasks) -> None:
    """The app's and its own, from adding to the result that a caller gets."""
    notes: list[str] = []
    app.add_middleware(_Noting("app", notes))

    @app.task(middlewares=[_Noting("own", notes)])
    async def one(x: int) -> int:
        notes.append("runs")
        return x

    assert 300 == await call_task(one, 1)
    assert [
        "app add one",
        "own add one",
        "app before (1,)",
        "own before (1,)",
        "runs",
        "own after",
        "app after",
        "own result",
        "app result",
    ] == notes


async def test_generators_come_to_their_end(app: aio.QueueTasks) -> None:
    """Of both kinds; the result is the list of handled values."""

    @app.task(generate_handler=lambda value: value + 1)
    def numbers(most: int) -> Iterator[int]:
        yield from range(most)

    @app.task
    async def texts(most: int) -> AsyncIterator[str]:
        for number in range(most):
            current_context().progress(number, most)
            yield str(number)

    assert [1, 2, 3] == await call_task(numbers, 3)
    assert ["0", "1"] == await call_task(texts, 2)


async def test_it_has_its_time_and_may_end_itself(app: aio.QueueTasks) -> None:
    """A timeout, of the task or of the call, and a cancel by the task are raised."""

    @app.task(timeout=30)
    async def endless() -> None:
        await asyncio.Event().wait()

    @app.task(echo=True)
    async def gives_up(self: AsyncTaskContext) -> None:
        self.cancel("enough")

    with pytest.raises(TaskTimeoutError, match=r"0\.05 s"):
        await call_task(endless.with_options(timeout=0.05))
    with pytest.raises(TaskCancelError, match="enough"):
        await call_task(gives_up)


async def test_what_it_adds_is_dropped_or_waits_in_memory(app: aio.QueueTasks) -> None:
    """Alone, and in a memory_app block, which can run it; the app's own broker sees none of it."""

    @app.task
    async def child(x: int) -> None: ...

    @app.task
    async def parent(x: int) -> None:
        await child.add_task(x)

    await call_task(parent, 1)
    async with memory_app(app) as memory:
        await call_task(parent, 2)
        assert [("child", (2,))] == [(task.task_name, task.args) for task in memory.waiting()]
        assert ["child"] == [task.task_name for task in await memory.run_until_idle()]
    assert [] == [record async for record in app.core.engine().storage.scan()]  # type: ignore[attr-defined]


async def test_many_at_a_time(app: aio.QueueTasks) -> None:
    """Within one block; each has its own context."""

    @app.task(echo=True)
    async def who(self: AsyncTaskContext, x: int) -> tuple[int, str]:
        await asyncio.sleep(0)
        return x, str(current_context().task_uuid)

    async with memory_app(app):
        found = await asyncio.gather(*(call_task(who, number) for number in range(10)))
    assert list(range(10)) == [number for number, _ in found]
    assert 10 == len({uuid for _, uuid in found})


async def test_one_that_has_expired_does_not_run(app: aio.QueueTasks) -> None:
    """The error says so."""

    @app.task
    async def job() -> None:
        raise AssertionError("it ran")

    async with memory_app(app) as memory:
        expired = job.with_options(expires=dt.datetime.fromtimestamp(memory.time() - 1, dt.UTC))
        with pytest.raises(RuntimeError, match="it does not run: expired before it started"):
            await call_task(expired)
