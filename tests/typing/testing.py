"""Embedded workers and `qtasks.testing` as a user writes them; checked by mypy --strict, never run."""

from collections.abc import Coroutine
from typing import Any, assert_type

import qtasks.asyncio
from qtasks import QueueTasks, TaskContext
from qtasks.testing import AsyncMemory, AsyncTestCase, BlockingMemory, SyncTestCase, call_task, memory_app

app = QueueTasks("name", "memory://")
async_app = qtasks.asyncio.QueueTasks("name", "memory://")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(echo=True)
def told(self: TaskContext, x: int) -> str:
    return f"{self.task_name} {x}"


@async_app.task
async def triple(x: int) -> int:
    return 3 * x


def embedded() -> None:
    with app.worker(concurrency=2, queues=["a"], queue_concurrency={"a": 1}, shutdown_timeout=1.5) as worker:
        assert_type(worker.name, str | None)
        assert_type(worker.running, int)
    app.worker(2)  # type: ignore[call-arg]
    app.worker(queues=3)  # type: ignore[arg-type]
    app.worker(concurrency="2")  # type: ignore[arg-type]


async def embedded_in_a_loop() -> None:
    async with async_app.worker(name="w"), app.aio.worker() as worker:
        assert_type(worker.name, str | None)
    async_app.worker(name=3)  # type: ignore[arg-type]
    async_app.worker(slots=3)  # type: ignore[call-arg]


def in_memory() -> None:
    with memory_app(app) as memory:
        assert_type(memory, BlockingMemory)
        assert_type(memory.run_until_idle(timeout=3, concurrency=1)[0].status == "new", bool)
        assert_type(memory.waiting()[0].queue, str)
        assert_type(memory.time(), float)
        memory.advance(2.5)
        memory.advance("2")  # type: ignore[arg-type]
        memory.run_until_idle(5)  # type: ignore[call-arg]
    memory_app("name")  # type: ignore[arg-type]


async def in_memory_in_a_loop() -> None:
    async with memory_app(app) as memory:
        assert_type(memory, AsyncMemory)
        assert_type((await memory.run_until_idle())[0].attempt, int)
        assert_type([task.args for task in memory.waiting()], list[tuple[Any, ...]])
        await memory.run_until_idle(idle=True)  # type: ignore[call-arg]


def called() -> None:
    assert_type(call_task(add, 1, y=2), int)
    assert_type(call_task(told.with_options(timeout=3), 1), str)
    call_task(add, "1")  # type: ignore[call-overload]
    call_task(add)  # type: ignore[call-overload]
    text: str = call_task(add, 1)  # type: ignore[assignment]
    print(text)


async def called_in_a_loop() -> None:
    assert_type(await call_task(triple, 1), int)
    assert_type(await call_task(add.aio, 1), int)
    waiting: Coroutine[Any, Any, int] = call_task(triple, x=1)
    await waiting
    await call_task(triple, "1")  # type: ignore[call-overload]
    await call_task(add, 1)  # type: ignore[misc]


class BlockingCase(SyncTestCase):
    app = app

    def test_it(self) -> None:
        add.add_task(1)
        assert_type(self.memory, BlockingMemory)
        assert_type(self.run_until_idle()[0].task_name, str)
        self.advance(60)


class AsyncCase(AsyncTestCase):
    app = async_app

    async def test_it(self) -> None:
        await triple.add_task(1)
        assert_type(self.memory, AsyncMemory)
        assert_type((await self.run_until_idle(concurrency=1))[0].task_name, str)
        self.advance()  # type: ignore[call-arg]
