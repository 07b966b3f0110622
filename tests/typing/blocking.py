"""The blocking face as a user writes it; checked by mypy --strict, never run.

`assert_type` says what a type checker must know; `type: ignore` with its code says what it must refuse, for an ignore
that is not needed is an error too.
"""

import datetime as dt
import uuid
from typing import Any, assert_type

from qtasks import QueueConfig, QueueTasks
from qtasks.exceptions import AddManyError, TaskFailedError
from qtasks.executors import AsyncTaskExecutor, ProcessTaskExecutor, SyncTaskExecutor, TaskExecutor
from qtasks.middlewares import Execution

app = QueueTasks()
named = QueueTasks("name", "sqlite:///tasks.db", config=QueueConfig(concurrency=4, queues=("a", "b")))


# ---------------------------------------------------------------- declaring


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="longer.name", queue="slow", priority=5, result_ttl=60)
def join(*words: str, between: str = " ") -> list[str]:
    return [between.join(words)]


@app.task
async def fetch(url: str, /, *, timeout: float | None = None) -> dict[str, bytes]:
    return {url: b""}


@app.task()
async def nothing() -> None: ...


app.task(name=7)  # type: ignore[call-overload]
app.task(priority="high")  # type: ignore[call-overload]
app.task(no_such_option=1)  # type: ignore[call-overload]
app.task(3)  # type: ignore[call-overload]
QueueTasks(concurrency=3)  # type: ignore[call-arg]
QueueConfig(concurrency="3")  # type: ignore[arg-type]
QueueConfig().concurrency = 4  # type: ignore[misc]


# ---------------------------------------------------------------- the plain function


assert_type(add(1, 2), int)
assert_type(join("a", "b", between="-"), list[str])


async def plain() -> None:
    assert_type(await fetch("url"), dict[str, bytes])
    assert_type(await nothing(), None)


add("1")  # type: ignore[arg-type]


# ---------------------------------------------------------------- queueing a call

task = add.add_task(1, y=2)
assert_type(task.result(timeout=10), int)
assert_type(task.wait(1.5).refresh().returning, int | None)
assert_type(task.uuid, uuid.UUID)
assert_type(add.add_task(1).result(), int)
assert_type(join.add_task("a", between="-").result(), list[str])
assert_type(fetch.add_task("url", timeout=None).result(), dict[str, bytes])
assert_type(nothing.add_task().result(), None)
assert_type([one.result() for one in add.add_many([(1, 2), {"x": 1}])], list[int])
assert_type(add.name, str)

add.add_task()  # type: ignore[call-arg]
add.add_task("1")  # type: ignore[arg-type]
add.add_task(1, 2, 3)  # type: ignore[call-arg]
add.add_task(1, z=2)  # type: ignore[call-arg]
join.add_task(1)  # type: ignore[arg-type]
fetch.add_task(url="url")  # type: ignore[call-arg]
nothing.add_task(1)  # type: ignore[call-arg]
add.add_many([3])  # type: ignore[list-item]
task.result(timeout="10")  # type: ignore[arg-type]
task.status = "success"  # type: ignore[misc]
number: str = task.result()  # type: ignore[assignment]


async def awaited_by_mistake() -> None:
    await add.add_task(1)  # type: ignore[misc]


# ---------------------------------------------------------------- options

later = add.with_options(priority=1, delay=30, queue="slow", expires=dt.datetime.now(dt.UTC), headers={"a": "b"})
assert_type(later.add_task(1).result(), int)
assert_type(add.with_options(uuid=uuid.uuid4(), results=False).add_task(1).result(), int)

later.add_task("1")  # type: ignore[arg-type]
add.with_options(priority="high")  # type: ignore[arg-type]
add.with_options(headers={"a": 1})  # type: ignore[dict-item]
add.with_options(no_such_option=1)  # type: ignore[call-arg]


# ---------------------------------------------------------------- by name, and the app

by_name: Any = app.add_task("add", 1, y=2).result()
app.get(task.uuid).refresh()
app.get("uuid")  # type: ignore[arg-type]
assert_type(app.run_forever(concurrency=2, queues=["a"]), int)

with QueueTasks("name") as inner:
    assert_type(inner, QueueTasks)
    inner.stop()

try:
    add.add_task(1).result()
except TaskFailedError as failed:
    assert_type(failed.traceback, str)

try:
    add.add_many([(1,)])
except AddManyError as some:
    assert_type(some.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])


# ---------------------------------------------------------------- the awaitable face of the same app


async def awaitable() -> None:
    assert_type(await add.aio.add_task(1).result(timeout=1), int)
    assert_type((await add.aio.add_task(1)).returning, int | None)
    assert_type(await task.aio.result(), int)
    assert_type(await fetch.aio.add_task("url").result(), dict[str, bytes])
    assert_type(await later.aio.add_task(1).result(), int)
    await app.aio.add_task("add", 1)
    await add.aio.add_task("1")  # type: ignore[arg-type]


class Executor(TaskExecutor):
    """One's own step around each task."""

    async def run(self, execution: Any) -> Any:
        return await super().run(execution)


class Step(TaskExecutor):
    """One's own call of the function."""

    async def call(self, execution: Execution) -> Any:
        return await super().call(execution)


@app.task(executor=Step)
def stepped(x: int) -> int:
    return x


@app.task(executor=ProcessTaskExecutor(processes=2, max_tasks_per_child=100))
def processed(x: int) -> int:
    return x


def executors() -> None:
    """Give a class or an object, to a task or to an app."""
    QueueTasks(task_executor=Step)
    QueueTasks(task_executor=ProcessTaskExecutor(processes=2))
    QueueTasks(task_executor=AsyncTaskExecutor)
    QueueTasks(task_executor=SyncTaskExecutor(2))
    assert_type(stepped.add_task(1).result(), int)
    assert_type(processed.add_task(1).result(), int)
    QueueTasks(task_executor=3)  # type: ignore[arg-type]
    QueueTasks(task_executor=QueueConfig)  # type: ignore[arg-type]
    ProcessTaskExecutor(processes="2")  # type: ignore[arg-type]
    ProcessTaskExecutor(threads=2)  # type: ignore[call-arg]
