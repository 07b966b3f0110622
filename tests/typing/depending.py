"""Dependencies and states as a user writes them; checked by mypy --strict, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, assert_type

from qtasks import Depends
from qtasks.asyncio import QueueTasks
from qtasks.plugins import AsyncState, ScopeEnum, SyncState
from qtasks.plugins import Depends as SameDepends

app = QueueTasks("name", "memory://")


class Db:
    def close(self) -> None: ...


async def get_db() -> AsyncIterator[Db]:
    yield Db()


def get_db_sync() -> Iterator[Db]:
    yield Db()


async def get_name() -> str:
    return "name"


def get_number(name: str = Depends(get_name)) -> int:
    return len(name)


@contextmanager
def manager() -> Generator[Db]:
    yield Db()


@asynccontextmanager
async def async_manager() -> AsyncGenerator[Db]:
    yield Db()


class Wizard(AsyncState, ttl=60.0, name="wizard"):
    step: int = 0


class SyncWizard(SyncState, name="wizard"):
    step: int = 0


assert_type(Depends(get_db), Db)
assert_type(Depends(get_db_sync, scope="worker"), Db)
assert_type(Depends(get_name, scope=ScopeEnum.BROKER), str)
assert_type(Depends(get_number, use_cache=False), int)
assert_type(Depends(manager), Db)
assert_type(Depends(async_manager), Db)
assert_type(Depends(Db), Db)
assert_type(SameDepends(Wizard), Wizard)
assert_type(Wizard.with_options(state_key="a"), type[Wizard])
Depends("get_db")  # type: ignore[call-overload]
Depends(get_db, scope="wroker")  # type: ignore[call-overload]
Depends(get_db, use_cache="no")  # type: ignore[call-overload]
Depends(get_db, "worker")  # type: ignore[call-overload]


@app.task
async def use(x: int, db: Db = Depends(get_db), state: Wizard = Depends(), name: str = Depends(get_name)) -> int:
    assert_type(db, Db)
    assert_type(await state.get_all(), dict[str, Any])
    assert_type(await state.update(step=1), dict[str, Any])
    assert_type(await state.compare_and_set("step", 1, 2), bool)
    assert_type(await state.delete("step"), bool)
    assert_type(state.with_options(state_key="b"), Wizard)
    async with state.lock("l", ttl=5.0, timeout=1.0) as lock:
        await lock.extend(5)
    await state.set("step")  # type: ignore[call-arg]
    await state.increment("step", "1")  # type: ignore[arg-type]
    with state.lock("l"):  # type: ignore[attr-defined]
        pass
    return x + len(name)


@app.task
def wrong(db: Db = Depends(get_number)) -> None: ...  # type: ignore[assignment]


@app.task
def other(name: Annotated[str, Depends(get_name)] = "") -> str:
    return name


async def calls() -> None:
    assert_type(await use.add_task(1).result(), int)
    assert_type(await other.add_task().result(), str)
    await use.add_task("1")  # type: ignore[arg-type]
    await use.add_task()  # type: ignore[call-arg]
    assert_type(Wizard.of(app, "a"), Wizard)
    app.dependency_overrides[get_db] = get_db_sync
    app.dependency_overrides["get_db"] = get_db_sync  # type: ignore[index]


def blocks() -> None:
    state = SyncWizard.of(app)
    assert_type(state.get_all(), dict[str, Any])
    with state.lock("l") as lock:
        lock.extend()
    state.lock("l", ttl="5")  # type: ignore[arg-type]
