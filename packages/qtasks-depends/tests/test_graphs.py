"""Random graphs of dependencies open and close in a legal order, whatever fails; a state does what a dict would."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import TaskFailedError
from qtasks_core.testing import AsyncMemory, memory_app
from qtasks_depends import AsyncState, Depends, ScopeEnum

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

SCOPES = list(ScopeEnum)
KINDS = ("function", "coroutine", "generator", "async generator", "manager", "async manager")
CLOSING = KINDS[2:]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One dependency of a random graph; *below* are numbers of earlier ones."""

    kind: str
    scope: ScopeEnum
    below: tuple[int, ...]
    opens: bool
    closes: bool
    use_cache: bool


@st.composite
def graphs(draw: st.DrawFn) -> list[Wanted]:
    """Draw dependencies, each of which may need earlier ones that live at least as long."""
    found: list[Wanted] = []
    for _ in range(draw(st.integers(1, 7))):
        scope = draw(st.sampled_from(SCOPES))
        wider = [number for number, one in enumerate(found) if one.scope.width >= scope.width]
        below = draw(st.lists(st.sampled_from(wider), max_size=3, unique=True)) if wider else []
        often = st.sampled_from([True, True, True, True, False])
        found.append(
            Wanted(draw(st.sampled_from(KINDS)), scope, tuple(below), draw(often), draw(often), draw(st.booleans()))
        )
    return found


class Opened:
    """One value: what was opened with it, and whether it is closed."""

    def __init__(self, world: World, number: int, below: list[Opened]) -> None:
        self.number = number
        self.below = below
        self.is_closed = False
        self._world = world
        for one in below:
            world.expect(not one.is_closed, f"{one.number} is open when {number} opens")

    def close(self) -> None:
        """Take note that it is closed: nothing that needs it is open still."""
        self._world.expect(not self.is_closed, f"{self.number} is closed once")
        self.is_closed = True
        needing = [one for one in self._world.opened if self in one.below and not one.is_closed and one.closes]
        self._world.expect(not needing, f"what needs {self.number} is closed before it")

    @property
    def closes(self) -> bool:
        """Whether it is one that is closed."""
        return self._world.graph[self.number].kind in CLOSING


class World:
    """The functions of a graph, and what happens to them."""

    def __init__(self, graph: list[Wanted]) -> None:
        self.graph = graph
        self.opened: list[Opened] = []
        self.problems: list[str] = []
        self.functions: list[Callable[..., Any]] = []
        for number, one in enumerate(graph):
            self.functions.append(self._function(number, one))

    def expect(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.problems.append(what)

    def marks(self, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Return what parameters ask for."""
        return {
            f"d{number}": Depends(
                self.functions[number], scope=self.graph[number].scope, use_cache=self.graph[number].use_cache
            )
            for number in numbers
        }

    def open(self, number: int, below: dict[str, Opened]) -> Opened:
        if not self.graph[number].opens:
            raise ConnectionError(f"{number} does not open")
        found = Opened(self, number, list(below.values()))
        self.opened.append(found)
        return found

    def close(self, found: Opened) -> None:
        found.close()
        if not self.graph[found.number].closes:
            raise OSError(f"{found.number} does not close")

    def _function(self, number: int, wanted: Wanted) -> Callable[..., Any]:
        def function(**below: Opened) -> Opened:
            return self.open(number, below)

        async def coroutine(**below: Opened) -> Opened:
            await asyncio.sleep(0)
            return self.open(number, below)

        def generator(**below: Opened) -> Iterator[Opened]:
            found = self.open(number, below)
            try:
                yield found
            finally:
                self.close(found)

        async def async_generator(**below: Opened) -> AsyncIterator[Opened]:
            found = self.open(number, below)
            try:
                yield found
            finally:
                await asyncio.sleep(0)
                self.close(found)

        world = self

        class Manager:
            def __init__(self, **below: Opened) -> None:
                self.below = below

            def __enter__(self) -> Opened:
                self.found = world.open(number, self.below)
                return self.found

            def __exit__(self, *_: object) -> None:
                world.close(self.found)

        class AsyncManager(Manager):
            async def __aenter__(self) -> Opened:
                return self.__enter__()

            async def __aexit__(self, *_: object) -> None:
                self.__exit__()

        made = dict(zip(KINDS, (function, coroutine, generator, async_generator, Manager, AsyncManager), strict=True))
        asking: Callable[..., Any] = _asking(made[wanted.kind], self.marks(wanted.below), f"f{number}")
        return asking


def _asking(made: Any, marks: dict[str, Any], name: str) -> Any:
    """Give a function, or a class, parameters that ask for these."""
    import inspect

    parameters = [inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=mark) for one, mark in marks.items()]
    made.__signature__ = inspect.Signature(parameters)
    made.__name__ = name
    return made


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_async", [True, False])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), fails=st.booleans(), runs=st.integers(1, 3))
def test_random_graphs_open_and_close_in_a_legal_order(
    graph: list[Wanted], fails: bool, runs: int, is_async: bool
) -> None:
    """Whatever does not open, does not close, or fails: all that was opened is closed, once, what needs it first."""
    logging.getLogger("qtasks").setLevel(logging.CRITICAL)
    try:
        asyncio.run(_live(graph, fails=fails, runs=runs, is_async=is_async))
    finally:
        logging.getLogger("qtasks").setLevel(logging.NOTSET)


async def _live(graph: list[Wanted], *, fails: bool, runs: int, is_async: bool) -> None:
    note(f"{graph}")
    world, app = World(graph), QueueTasks("depends", "memory://", config=QueueConfig(concurrency=4))

    def in_thread(**given: Opened) -> int:
        world.expect(not any(one.is_closed for one in given.values()), "all is open while the task runs")
        if fails:
            raise ValueError("its own")
        return len(given)

    async def on_loop(**given: Opened) -> int:
        await asyncio.sleep(0)
        return in_thread(**given)

    task = app.task(_asking(on_loop if is_async else in_thread, world.marks(tuple(range(len(graph)))), "task"))
    async with asyncio.timeout(60), app.worker():
        added = [await task.add_task() for _ in range(runs)]
        for one in added:
            if fails or not all(wanted.opens for wanted in graph):
                with pytest.raises(TaskFailedError, match=r"its own|does not open"):
                    await one.result()
            else:
                assert len(graph) == await one.result()
    assert [] == world.problems
    assert [] == [one.number for one in world.opened if one.closes and not one.is_closed]
    for number, wanted in enumerate(graph):
        if wanted.scope is not ScopeEnum.TASK and wanted.use_cache and wanted.opens:
            assert 1 >= len([one for one in world.opened if one.number == number])


# ---------------------------------------------------------------- a state is a dict


class Model(AsyncState):
    a: int = 5
    b: str
    c: list[int]


VALUES = {"a": st.integers(-(2**40), 2**40), "b": st.text(max_size=5), "c": st.lists(st.integers(0, 9), max_size=3)}
STEP = st.one_of(
    st.sampled_from(sorted(VALUES)).flatmap(lambda key: st.tuples(st.just("set"), st.just(key), VALUES[key])),
    st.tuples(st.just("update"), st.fixed_dictionaries({}, optional=VALUES)),
    st.tuples(st.just("delete"), st.sampled_from(sorted(VALUES))),
    st.tuples(st.just("increment"), st.integers(-5, 5)),
    st.tuples(st.just("compare_and_set"), st.integers(3, 6), st.integers(3, 6)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("lock")),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=15))
def test_a_state_does_what_a_dict_would(steps: list[tuple[Any, ...]]) -> None:
    """Step by step, through two objects of one bucket."""
    asyncio.run(_compare_in_memory(steps))


async def _compare_in_memory(steps: list[tuple[Any, ...]]) -> None:
    async with memory_app(app := QueueTasks("depends", "memory://")) as memory:
        await _compare(steps, app, memory)


async def _compare(steps: list[tuple[Any, ...]], app: QueueTasks, memory: AsyncMemory) -> None:
    one, other, model = Model.of(app), Model.of(app), {}
    for name, *given_ in steps:
        match name, given_:
            case "set", [key, value]:
                await one.set(key, value)
                model[key] = value
            case "update", [values]:
                assert {"a": 5, **model, **values} == await one.update(**values)
                model.update(values)
            case "delete", [key]:
                assert (key in model) == await one.delete(key)
                model.pop(key, None)
            case "increment", [by]:
                model["a"] = model.get("a", 5) + by
                assert model["a"] == await one.increment("a", by)
            case "compare_and_set", [old, new]:
                is_same = model.get("a", 5) == old
                assert is_same == await one.compare_and_set("a", old, new)
                model.update({"a": new} if is_same else {})
            case "clear", _:
                await one.clear()
                model.clear()
            case _:
                async with one.lock("l", ttl=60.0):
                    await one.set("b", "locked")
                model["b"] = "locked"
        assert {"a": 5, **model} == await other.get_all()
    kept = app.core.engine().global_config
    assert kept is not None
    memory.advance(3 * app.config.send_timeout)
    assert (1 if model else 0) == len(await kept.list("state/"))
