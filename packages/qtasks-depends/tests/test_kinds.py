"""What may be a dependency: functions, generators, context managers, classes; and how it is asked for."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from qtasks_core import contract
from qtasks_core.aio import QueueTasks
from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
from qtasks_core.errors import TaskFailedError
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext
from qtasks_core.testing import call_task
from qtasks_depends import Depends

if TYPE_CHECKING:
    from conftest import AtWork
    from not_there_at_run_time import Db  # type: ignore[import-not-found]

log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> Iterator[None]:
    log.clear()
    yield
    log.clear()


def function() -> str:
    return "a function"


async def coroutine() -> str:
    await asyncio.sleep(0)
    return "a coroutine"


def generator() -> Iterator[str]:
    log.append("open")
    try:
        yield "a generator"
    finally:
        log.append("close")


async def async_generator() -> AsyncIterator[str]:
    log.append("open")
    try:
        yield "an async generator"
    finally:
        log.append("close")


@contextmanager
def manager() -> Iterator[str]:
    yield from generator()


@asynccontextmanager
async def async_manager() -> AsyncIterator[str]:
    log.append("open")
    yield "an async manager"
    log.append("close")


class Plain:
    def __str__(self) -> str:
        return "a class"


class Manager:
    def __enter__(self) -> str:
        log.append("open")
        return "a class that is a manager"

    def __exit__(self, *_: object) -> bool:
        log.append("close")
        return True


class AsyncManager:
    async def __aenter__(self) -> str:
        log.append("open")
        return "a class that is an async manager"

    async def __aexit__(self, *_: object) -> bool:
        log.append("close")
        return True


class Called:
    async def __call__(self) -> str:
        return "an object that is called"


class CalledGenerator:
    def __call__(self) -> Iterator[str]:
        log.append("open")
        yield "an object whose call is a generator"
        log.append("close")


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(**kwargs: Any) -> Any:
        return function(**kwargs)

    return inside


def of(word: str) -> str:
    return f"a partial of {word}"


KINDS: list[tuple[Any, str, bool]] = [
    (function, "a function", False),
    (coroutine, "a coroutine", False),
    (generator, "a generator", True),
    (async_generator, "an async generator", True),
    (manager, "a generator", True),
    (async_manager, "an async manager", True),
    (Plain, "a class", False),
    (Manager, "a class that is a manager", True),
    (AsyncManager, "a class that is an async manager", True),
    (Called(), "an object that is called", False),
    (CalledGenerator(), "an object whose call is a generator", True),
    (decorated(function), "a function", False),
    (decorated(coroutine), "a coroutine", False),
    (decorated(generator), "a generator", True),
    (decorated(async_generator), "an async generator", True),
    (functools.partial(of, "it"), "a partial of it", False),
    (functools.partial(generator), "a generator", True),
    (lambda: "a lambda", "a lambda", False),
]


@pytest.mark.parametrize("scope", ["task", "worker"])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(("dependency", "expected", "closes"), KINDS)
async def test_all_kinds_are_opened_and_closed(  # noqa: PLR0917  # pytest passes them by name
    app: QueueTasks, at_work: AtWork, dependency: Any, expected: str, closes: bool, is_async: bool, scope: Any
) -> None:
    """In tasks of both kinds, in both kinds of scopes; what can be left is left, once."""
    asked = Depends(dependency, scope=scope)

    async def on_loop(found: Any = asked) -> str:
        return str(found)

    def in_thread(found: Any = asked) -> str:
        return str(found)

    task = app.task(on_loop) if is_async else app.task(in_thread)
    async with at_work(app):
        assert expected == await (await task.add_task()).result()
    assert (["open", "close"] if closes else []) == log


@pytest.mark.parametrize("dependency", [generator, async_generator, Manager, AsyncManager])
@pytest.mark.parametrize("is_async", [True, False])
async def test_none_hides_the_error_of_its_task(
    app: QueueTasks, at_work: AtWork, dependency: Any, is_async: bool
) -> None:
    """Neither a manager that says so, nor a generator that catches it."""
    asked = Depends(dependency)

    async def on_loop(found: Any = asked) -> None:
        raise ValueError("its own")

    def in_thread(found: Any = asked) -> None:
        raise ValueError("its own")

    task = app.task(on_loop) if is_async else app.task(in_thread)
    async with at_work(app):
        with pytest.raises(TaskFailedError, match="ValueError: its own"):
            await (await task.add_task()).result()
    assert ["open", "close"] == log


async def test_a_generator_sees_how_its_task_ended(app: QueueTasks, at_work: AtWork) -> None:
    """So that it may roll back; what it makes of the error changes nothing."""

    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except ValueError as error:
            log.append(f"rollback: {error}")
        else:
            log.append("commit")

    @app.task
    async def ends(message: str | None, _: Any = Depends(transaction)) -> None:
        if message is not None:
            raise ValueError(message)

    async with at_work(app):
        await (await ends.add_task(None)).result()
        with pytest.raises(TaskFailedError, match="no money"):
            await (await ends.add_task("no money")).result()
    assert ["commit", "rollback: no money"] == log


# ---------------------------------------------------------------- how it is asked for


class Service:
    def __init__(self, word: Annotated[str, Depends(function)]) -> None:
        self.word = word


async def test_annotated_and_default_and_class_alone(app: QueueTasks, at_work: AtWork) -> None:
    """`Annotated[T, Depends(f)]`, `= Depends(f)`, and Depends() for the annotated class; callers pass the rest."""

    @app.task
    async def all_of_them(
        x: int,
        one: Annotated[str, Depends(coroutine)],
        y: int,
        two: str = Depends(function),
        *,
        three: Annotated[Service, Depends()],
        four: Service = Depends(),
    ) -> list[Any]:
        return [x, one, y, two, three.word, four.word]

    add: Any = all_of_them
    async with at_work(app):
        expected = [1, "a coroutine", 2, "a function", "a function", "a function"]
        assert expected == await (await add.add_task(1, 2)).result()
        assert expected == await (await add.add_task(x=1, y=2)).result()
    with pytest.raises(TypeError):
        await add.add_task(1, 2, two="mine")
    assert ["x", "y"] == list(all_of_them.definition.signature.parameters.parameters)


async def annotated_by_text(x: int, db: Annotated[Db, Depends(coroutine)]) -> str:
    return f"{db} {x}"


async def test_annotations_may_name_what_only_type_checkers_know(app: QueueTasks, at_work: AtWork) -> None:
    """Only what `Depends` needs has to be there; also what stands around the function."""

    async def here() -> str:
        return "here"

    async def around(x: int, db: Annotated[Db | None, Depends(here)] = None) -> str:
        return f"{db} {x} {here.__name__}"

    task: Any = app.task(annotated_by_text)
    other = app.task(around)
    async with at_work(app):
        assert "a coroutine 1" == await (await task.add_task(1)).result()
        assert "here 1 here" == await (await other.add_task(1)).result()


async def test_all_who_ask_share_one_unless_they_say_otherwise(app: QueueTasks, at_work: AtWork) -> None:
    """By function and scope; `use_cache=False` makes one for each parameter that says so."""
    made: list[int] = []

    async def number() -> int:
        made.append(len(made))
        return made[-1]

    async def one(n: int = Depends(number)) -> int:
        return n

    async def two(n: int = Depends(number), own: int = Depends(number, use_cache=False)) -> list[int]:
        return [n, own]

    @app.task
    async def task(  # noqa: PLR0917  # they are provided
        a: int = Depends(one),
        b: list[int] = Depends(two),
        c: int = Depends(number),
        d: int = Depends(number, use_cache=False),
        e: int = Depends(number, use_cache=False),
        f: int = Depends(number, scope="worker"),
    ) -> list[Any]:
        return [a, b, c, d, e, f]

    async with at_work(app):
        assert [0, [0, 1], 0, 2, 3, 4] == await (await task.add_task()).result()
        assert [5, [5, 6], 5, 7, 8, 4] == await (await task.add_task()).result()


async def test_what_every_run_has_may_be_asked_for_by_its_type(app: QueueTasks, at_work: AtWork) -> None:
    """The context, the app in the face that is asked for, and the components."""

    async def all_of_it(  # noqa: PLR0917  # they are passed by name
        ctx: AsyncTaskContext,
        base: TaskContext,
        its_app: QueueTasks,
        blocking: BlockingQueueTasks,
        broker: contract.Broker,
        storage: contract.Storage,
        results: contract.Results,
        config: contract.GlobalConfig,
        worker: contract.Worker,
        executor: contract.TaskExecutor,
        starter: contract.Starter,
        other: int = 5,
    ) -> list[Any]:
        assert ctx is base
        assert its_app is app
        assert blocking.core is app.core
        assert [broker, storage, results, config, worker, executor, starter] == [
            ctx.get_component(name)
            for name in ("broker", "storage", "storage", "global_config", "worker", "task_executor", "starter")
        ]
        return [ctx.task_name, other]

    @app.task
    async def task(found: list[Any] = Depends(all_of_it)) -> list[Any]:
        return found

    def name(ctx: BlockingTaskContext) -> str:
        return ctx.task_name

    @app.task
    def blocking(found: str = Depends(name)) -> str:
        return found

    async def number(broker: contract.Broker, its_app: QueueTasks) -> str:
        return f"{type(broker).__name__} of {its_app.name}"

    @app.task
    async def wide(found: str = Depends(number, scope="broker")) -> str:
        return found

    async with at_work(app):
        assert ["task", 5] == await (await task.add_task()).result()
        assert "blocking" == await (await blocking.add_task()).result()
        assert "MemoryBroker of depends" == await (await wide.add_task()).result()


# ---------------------------------------------------------------- beside the rest


async def test_generator_tasks_have_them_to_their_end(app: QueueTasks, at_work: AtWork) -> None:
    """Those of both kinds; a sync one has it in the thread that it runs in."""

    @app.task
    def steps(n: int, found: str = Depends(generator)) -> Generator[str, Any, str]:
        got = yield found
        log.append("run")
        return f"{got} {n}"

    @app.task(generate_handler=str.upper)
    async def async_steps(found: str = Depends(async_generator)) -> AsyncIterator[str]:
        yield found
        log.append("run")

    async with at_work(app):
        assert "None 1" == await (await steps.add_task(1)).result()
        assert ["AN ASYNC GENERATOR"] == await (await async_steps.add_task()).result()
    assert ["open", "run", "close"] * 2 == log


async def test_sync_ones_never_run_on_the_loop(app: QueueTasks, at_work: AtWork) -> None:
    """Those of an async task run in threads, opening and closing."""
    found: list[str] = []

    def note() -> str:
        found.append(threading.current_thread().name)
        return "noted"

    def held(n: str = Depends(note)) -> Iterator[str]:
        note()
        yield "held"
        note()

    @app.task
    async def task(h: str = Depends(held)) -> str:
        return h

    async with at_work(app):
        assert "held" == await (await task.add_task()).result()
    assert 3 == len(found)
    assert all(name.startswith("qtasks-depends") for name in found)


async def test_those_of_a_def_live_in_its_thread(app: QueueTasks, at_work: AtWork) -> None:
    """Where they may: one that an async one needs is opened before, elsewhere."""
    found: list[tuple[str, int]] = []

    def base() -> Iterator[str]:
        found.append(("open base", threading.get_ident()))
        yield "base"
        found.append(("close base", threading.get_ident()))

    async def on_loop(base: str = Depends(base)) -> str:
        found.append(("on loop", threading.get_ident()))
        return base

    def session(of: str = Depends(on_loop)) -> Iterator[str]:
        found.append(("open session", threading.get_ident()))
        yield f"session of {of}"
        found.append(("close session", threading.get_ident()))

    @app.task
    def task(s: str = Depends(session)) -> str:
        found.append(("run", threading.get_ident()))
        return s

    async with at_work(app):
        assert "session of base" == await (await task.add_task()).result()
    assert ["open base", "on loop", "open session", "run", "close session", "close base"] == [what for what, _ in found]
    by_name = dict(found)
    assert by_name["open session"] == by_name["run"] == by_name["close session"]
    assert by_name["on loop"] == threading.get_ident()
    assert by_name["run"] not in {by_name["open base"], by_name["on loop"]}


async def test_overrides_take_the_place_of_a_dependency(app: QueueTasks, at_work: AtWork) -> None:
    """Wherever it is asked for, with what they need themselves; a wrong one fails the run with the way to it."""

    async def inner() -> str:
        return "inner"

    async def fake(of: str = Depends(inner)) -> str:
        return f"fake of {of}"

    async def outer(found: str = Depends(function, scope="worker")) -> str:
        return found

    @app.task
    async def task(a: str = Depends(outer), b: str = Depends(function)) -> list[str]:
        return [a, b]

    async def round_and_round(found: str = Depends(function)) -> str:
        return found

    async with at_work(app):
        assert ["a function"] * 2 == await (await task.add_task()).result()
        app.dependency_overrides[function] = lambda: "fake"
        assert ["fake"] * 2 == await (await task.add_task()).result()
        app.dependency_overrides[outer] = fake
        assert ["fake of inner", "fake"] == await (await task.add_task()).result()
        app.dependency_overrides[function] = round_and_round
        with pytest.raises(TaskFailedError, match=r"task task → round_and_round → round_and_round: .* circle"):
            await (await task.add_task()).result()
        app.dependency_overrides.clear()
        assert ["a function"] * 2 == await (await task.add_task()).result()


async def test_the_function_itself_is_called_with_what_it_is_given(app: QueueTasks) -> None:
    """`call_task` runs it as a worker does, with its dependencies."""

    @app.task
    async def task(x: int, found: str = Depends(generator)) -> str:
        return f"{x} {found}"

    assert "1 mine" == await task(1, found="mine")
    with pytest.raises(TypeError, match="'found' is provided when a worker runs the task"):
        await task(1)
    assert "1 a generator" == await call_task(task, 1)
    assert ["open", "close"] == log


async def test_a_mark_is_never_taken_for_the_value(app: QueueTasks) -> None:
    """Where the plugin is blocked the task fails, and says why."""

    async def plain(db: Any = Depends(function)) -> str:
        return str(db.execute("select 1"))

    with pytest.raises(AttributeError, match=r"Depends\(function, scope='task'\) has no 'execute': .*plugin `depends`"):
        await plain()
