"""An app whose tasks share state and dependencies, as workers and their tests import it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from qtasks import Depends
from qtasks.asyncio import QueueTasks
from qtasks.executors import ProcessTaskExecutor
from qtasks.plugins import AsyncState, SyncState
from qtasks_core.config import QueueConfig

NAME, URL, FOLDER = "SHARING_NAME", "SHARING_URL", "SHARING_FOLDER"
"""Variables that say where the tasks are, and where they leave notes."""
TIMES = 100
LOCK_TTL_S = 2.0

app = QueueTasks(os.environ.get(NAME, "sharing"), os.environ.get(URL, "memory://"), config=QueueConfig(concurrency=5))


class Counter(AsyncState):
    count: int = 0
    by_task: dict[str, int] = {}  # noqa: RUF012  # a default, which each reader gets a copy of


class SyncCounter(SyncState, name="Counter"):
    count: int = 0


def note(what: str) -> None:
    """Leave a line for the test."""
    with (Path(os.environ[FOLDER]) / "notes").open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


# ---------------------------------------------------------------- counting


@app.task
async def increment(state: Counter = Depends()) -> int:
    for _ in range(TIMES):
        await state.increment("count")
    return os.getpid()


@app.task
async def exchange(state: Counter = Depends()) -> int:
    for _ in range(TIMES):
        while True:
            value = await state.get("count")
            if await state.compare_and_set("count", value, value + 1):
                break
    return os.getpid()


@app.task
async def update(number: int, state: Counter = Depends()) -> int:
    """Read, add, write under a lock: each time a field of its own and one of all."""
    for _ in range(TIMES):
        async with state.lock("counting", ttl=20.0):
            found = await state.get_all()
            own = found["by_task"].get(str(number), 0)
            await state.update(count=found["count"] + 1, by_task={**found["by_task"], str(number): own + 1})
    return os.getpid()


@app.task
def increment_in_thread(state: SyncCounter = Depends()) -> int:
    for _ in range(TIMES):
        state.increment("count")
    return os.getpid()


# ---------------------------------------------------------------- locks


@app.task(retry=0)
async def hold(state: Counter = Depends()) -> None:
    """Hold a lock for ever, as far as this task is concerned."""
    async with state.lock("door", ttl=LOCK_TTL_S):
        note("held")
        await asyncio.Event().wait()


@app.task(retry=0)
def write_late(go_on: str, state: SyncCounter = Depends()) -> str:
    """Take a lock, wait until a file is there, and write."""
    with state.lock("door", ttl=LOCK_TTL_S):
        note("held")
        while not Path(go_on).exists():
            time.sleep(0.01)
        try:
            state.set("count", -1)
        except Exception as error:  # noqa: BLE001  # it is what the test looks at
            return type(error).__name__
    return "written"


# ---------------------------------------------------------------- dependencies


async def connection() -> AsyncIterator[int]:
    note("open connection")
    yield os.getpid()
    note("close connection")


def session(of: int = Depends(connection, scope="worker")) -> Iterator[list[int]]:
    note("open session")
    yield [of, os.getpid()]
    note("close session")


@app.task
async def use(pids: list[int] = Depends(session)) -> list[int]:
    return pids


@app.task(executor=ProcessTaskExecutor)
async def use_in_process(state: Counter = Depends(), pids: list[int] = Depends(session)) -> list[int]:
    await state.increment("count")
    return [os.getpid(), *pids]


@app.task(executor=ProcessTaskExecutor)
def use_in_process_def(state: SyncCounter = Depends(), pids: list[int] = Depends(session)) -> list[Any]:
    state.increment("count")
    return [os.getpid(), *pids]
