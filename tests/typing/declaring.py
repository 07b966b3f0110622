"""Ways to declare tasks for the blocking face, as a user writes them; checked by mypy --strict, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, assert_type

from qtasks import QueueTasks, Router, SyncRouter, TaskContext, as_completed, current_context, gather, shared_task
from qtasks.asyncio import TaskContext as AsyncTaskContext
from qtasks.middlewares import Draft, Execution, TaskMiddleware

app = QueueTasks()
router = Router("mail", queue="mail", retry=3, middlewares=[])
app.include_router(router)
app.include_router(SyncRouter(), prefix="v2")


# ---------------------------------------------------------------- routers and shared tasks


@router.task
def send(to: str, /, *, copies: int = 1) -> bytes:
    return b""


@router.task(priority=5, timeout=10.0, retry_on_exc=[OSError])
async def fetch(url: str) -> int:
    return 1


@shared_task
def ping() -> float:
    return 1.0


@shared_task(name="lib.pong", tags=["a"])
async def pong(text: str) -> str:
    return text


assert_type(send("me", copies=2), bytes)
assert_type(send.add_task("me").result(), bytes)
assert_type(fetch.add_task("url").result(timeout=1), int)
assert_type(ping.add_task().result(), float)
assert_type(pong.with_options(priority=1).add_task("x").result(), str)
assert_type(app.bind(send).add_task("me", copies=3).result(), bytes)
assert_type(app.bind(pong).add_task("x").result(), str)

send.add_task(to="me")  # type: ignore[call-arg]
fetch.add_task(1)  # type: ignore[arg-type]
ping.add_task(1)  # type: ignore[call-arg]
pong.add_task(1)  # type: ignore[arg-type]
app.bind(send).add_task(1)  # type: ignore[arg-type]
app.bind(3)  # type: ignore[type-var]
app.include_router("mail")  # type: ignore[arg-type]
Router(priority="high")  # type: ignore[arg-type]
Router("mail", no_such_option=1)  # type: ignore[call-arg]
router.task(retry="3")  # type: ignore[call-overload]
shared_task(queue=1)  # type: ignore[call-overload]


async def plain() -> None:
    assert_type(await fetch("url"), int)
    assert_type(await fetch.aio.add_task("url").result(), int)


# ---------------------------------------------------------------- generators


@app.task
def count(to: int) -> Iterator[int]:
    yield from range(to)


@app.task(generate_handler=str)
def total(to: int) -> Generator[int, str, float]:
    yield to
    return 1.5


@router.task
def silent() -> Generator[bytes, None, None]:
    yield b""


@app.task
async def ticks(every: float) -> AsyncIterator[str]:
    yield "tick"


@shared_task()
async def ticks_too() -> AsyncGenerator[str, None]:
    yield "tick"


assert_type(count(3), Iterator[int])
assert_type(count.add_task(3).result(), list[int])
assert_type(total.add_task(3).result(), float)
assert_type(silent.add_task().result(), list[bytes])
assert_type(ticks.add_task(0.5).result(), list[str])
assert_type(ticks_too.add_task().result(), list[str])
assert_type(ticks(0.5), AsyncIterator[str])

count.add_task("3")  # type: ignore[arg-type]
ticks.add_task()  # type: ignore[call-arg]


# ---------------------------------------------------------------- contexts


@app.task(echo=True)
def told(self: TaskContext, x: int) -> str:
    assert_type(self.cancelled, bool)
    self.sleep(1)
    return self.task_name


@app.task(echo=True, queue="slow")
async def told_async(self: AsyncTaskContext, x: int = 0) -> int:
    await self.sleep(1)
    return x


@router.task(echo=True)
def told_step_by_step(self: TaskContext) -> Iterator[int]:
    self.progress(1, 2)
    yield 1


@shared_task(echo=True)
async def told_shared(self: AsyncTaskContext, text: str) -> str:
    assert_type(current_context().task_name, str)
    return text


assert_type(told.add_task(1).result(), str)
assert_type(told.add_task(x=1).result(), str)
assert_type(told_async.add_task().result(), int)
assert_type(told_step_by_step.add_task().result(), list[int])
assert_type(told_shared.add_task("x").result(), str)
assert_type(told.with_options(delay=1).add_task(1).result(), str)

told.add_task()  # type: ignore[call-arg]
told.add_task("1")  # type: ignore[arg-type]
told_shared.add_task(1)  # type: ignore[arg-type]


def not_told(x: int) -> int:
    return x


app.task(echo=True)(not_told)  # type: ignore[arg-type]
app.task(echo="yes")  # type: ignore[call-overload]


# ---------------------------------------------------------------- many tasks, and a function in other hands

assert_type(gather(told.add_task(1), told.add_task(2), timeout=5), list[str])
assert_type([one.returning for one in as_completed([told.add_task(1)])], list[str | None])
mixed: list[str | int] = gather(told.add_task(1), app.task(not_told).add_task(1))
numbers: Callable[[int], int] = not_told
assert_type(app.task(numbers).add_task(1).result(), int)


# ---------------------------------------------------------------- middlewares


class Timing(TaskMiddleware):
    """Each step either way."""

    async def add(self, draft: Draft) -> Draft:
        return draft

    def before(self, execution: Execution) -> None:
        print(execution.task_name, execution.uuid, execution.state)

    async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()

    def after(self, execution: Execution, result: Any) -> Any:
        return result

    async def failed(self, execution: Execution, error: BaseException) -> None:
        print(error)


class Narrow(TaskMiddleware):
    """Its step takes too little."""

    def before(self) -> None: ...  # type: ignore[override]


def limit(execution: Execution) -> None: ...


async def mark(execution: Execution, result: Any) -> Any:
    return result


app.add_middleware(Timing)
app.add_middleware(Timing())
app.task(middlewares=[Timing, Timing()], middlewares_before=[limit, Timing()], middlewares_after=[mark, Timing()])

app.add_middleware(limit)  # type: ignore[arg-type]
app.task(middlewares=[limit])  # type: ignore[list-item]
app.task(middlewares_before=[mark])  # type: ignore[list-item]
