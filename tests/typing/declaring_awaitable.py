"""Ways to declare tasks for the awaitable face, as a user writes them; checked by mypy --strict, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import assert_type

from qtasks import TaskContext as BlockingTaskContext
from qtasks.asyncio import (
    AsyncRouter,
    Progress,
    QueueTasks,
    Router,
    StreamRestart,
    TaskContext,
    as_completed,
    current_context,
    gather,
    shared_task,
)

app = QueueTasks()
router = Router("mail", queue="mail", retry=3)
app.include_router(router)
app.include_router(AsyncRouter(), prefix="v2")


# ---------------------------------------------------------------- routers and shared tasks


@router.task
def send(to: str, /, *, copies: int = 1) -> bytes:
    return b""


@router.task(priority=5)
async def fetch(url: str) -> int:
    return 1


@shared_task
def ping() -> float:
    return 1.0


@shared_task(name="lib.pong")
async def pong(text: str) -> str:
    return text


async def of_routers() -> None:
    assert_type(send("me", copies=2), bytes)
    assert_type(await fetch("url"), int)
    assert_type(await send.add_task("me").result(), bytes)
    assert_type(await fetch.add_task("url").result(timeout=1), int)
    assert_type((await ping.add_task()).returning, float | None)
    assert_type(await pong.with_options(priority=1).add_task("x").result(), str)
    assert_type(await app.bind(send).add_task("me", copies=3).result(), bytes)
    assert_type(await app.bind(pong).add_task("x").result(), str)

    await send.add_task(to="me")  # type: ignore[call-arg]
    await fetch.add_task(1)  # type: ignore[arg-type]
    await ping.add_task(1)  # type: ignore[call-arg]
    await app.bind(send).add_task(1)  # type: ignore[arg-type]
    send.add_task("me").result().hex()  # type: ignore[attr-defined]


Router(priority="high")  # type: ignore[arg-type]
router.task(retry="3")  # type: ignore[call-overload]
shared_task(queue=1)  # type: ignore[call-overload]


# ---------------------------------------------------------------- generators


@app.task
def count(to: int) -> Iterator[int]:
    yield from range(to)


@app.task
def total(to: int) -> Generator[int, str, float]:
    yield to
    return 1.5


@router.task
async def ticks(every: float) -> AsyncIterator[str]:
    yield "tick"


@shared_task()
async def ticks_too() -> AsyncGenerator[str, None]:
    yield "tick"


async def of_generators() -> None:
    assert_type(await count.add_task(3).result(), list[int])
    assert_type(await total.add_task(3).result(), float)
    assert_type(await ticks.add_task(0.5).result(), list[str])
    assert_type(await ticks_too.add_task().result(), list[str])
    async for step in (await ticks.add_task(0.5)).stream():
        print(isinstance(step, (StreamRestart, Progress)))

    await count.add_task("3")  # type: ignore[arg-type]
    await ticks.add_task()  # type: ignore[call-arg]


# ---------------------------------------------------------------- contexts


@app.task(echo=True)
async def told(self: TaskContext, x: int) -> str:
    await self.sleep(1)
    return self.task_name


@app.task(echo=True, queue="slow")
def told_in_a_thread(self: BlockingTaskContext, x: int = 0) -> int:
    self.sleep(1)
    return x


@router.task(echo=True)
async def told_step_by_step(self: TaskContext) -> AsyncIterator[int]:
    self.progress(1, 2)
    yield 1


@shared_task(echo=True)
async def told_shared(self: TaskContext, text: str) -> str:
    assert_type(current_context().attempt, int)
    return text


async def of_contexts() -> None:
    assert_type(await told.add_task(1).result(), str)
    assert_type(await told_in_a_thread.add_task().result(), int)
    assert_type(await told_step_by_step.add_task().result(), list[int])
    assert_type(await told_shared.add_task("x").result(), str)

    await told.add_task()  # type: ignore[call-arg]
    await told.add_task("1")  # type: ignore[arg-type]


# ---------------------------------------------------------------- many tasks


async def of_many() -> None:
    tasks = [await told.add_task(1), await told.add_task(2)]
    assert_type(await gather(*tasks, timeout=5), list[str])
    mixed: list[str | int] = await gather(tasks[0], await told_in_a_thread.add_task(1))
    assert_type(mixed, list[str | int])
    async for one in as_completed(tasks):
        assert_type(one.returning, str | None)
    await gather(told.add_task(1))  # type: ignore[arg-type]
