"""The awaitable face as a user writes it; checked by mypy --strict, never run."""

import uuid
from typing import Any, assert_type

from qtasks.asyncio import QueueTasks

app = QueueTasks("name", "memory://")


@app.task
async def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="longer.name", queue="slow")
def join(*words: str, between: str = " ") -> list[str]:
    return [between.join(words)]


@app.task()
async def nothing() -> None: ...


app.task(name=7)  # type: ignore[call-overload]
app.task(priority="high")  # type: ignore[call-overload]


async def plain() -> None:
    assert_type(await add(1, 2), int)
    assert_type(join("a"), list[str])
    await add("1")  # type: ignore[arg-type]


async def queueing() -> None:
    task = await add.add_task(1, y=2)
    assert_type(await task.result(timeout=10), int)
    assert_type((await task.wait(1.5)).returning, int | None)
    assert_type((await task.refresh()).status in {"new", "success"}, bool)
    assert_type(task.uuid, uuid.UUID)
    assert_type(await add.add_task(1).result(timeout=10), int)
    assert_type((await add.add_task(1).wait()).returning, int | None)
    assert_type(await join.add_task("a", between="-").result(), list[str])
    assert_type(await nothing.add_task().result(), None)
    assert_type([await one.result() for one in await add.add_many([(1, 2), {"x": 1}])], list[int])
    assert_type(await add.with_options(delay=3).add_task(1).result(), int)


async def refused() -> None:
    await add.add_task()  # type: ignore[call-arg]
    await add.add_task("1")  # type: ignore[arg-type]
    await add.add_task(1, 2, 3)  # type: ignore[call-arg]
    await join.add_task(1)  # type: ignore[arg-type]
    await nothing.add_task(1)  # type: ignore[call-arg]
    await add.with_options(priority=1).add_task("1")  # type: ignore[arg-type]
    await add.add_many(3)  # type: ignore[arg-type]
    text: str = await add.add_task(1).result()  # type: ignore[assignment]
    print(add.add_task(1).status)  # type: ignore[attr-defined]
    print(text)


async def by_name() -> None:
    found: Any = await app.add_task("add", 1, y=2).result()
    task = await app.get(uuid.uuid4())
    print(found, task.status, await task.result())
    await app.get("uuid")  # type: ignore[arg-type]


async def main() -> None:
    async with QueueTasks("name") as inner:
        assert_type(inner, QueueTasks)
    await app.stop()
    assert_type(app.run_forever(), int)
