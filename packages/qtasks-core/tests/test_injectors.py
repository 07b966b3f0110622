"""Parameters that plugins provide: who is asked, when they are made and released, and what callers see of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.errors import PluginError, TaskFailedError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.provided import NOT_READY
from qtasks_core.task_context import AsyncTaskContext
from qtasks_core.testing import call_task
from qtasks_core.triggers import Replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from inspect import Parameter

    from qtasks_core.contract import Execution
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.releases import Releases


class Wanted:
    """The default of a parameter that somebody provides."""


WANTED: Any = Wanted()


class Number:
    """Provides a number, at once or later, and keeps what happens."""

    def __init__(self, log: list[str], name: str, *, waits: bool) -> None:
        self._log = log
        self._name = name
        self._waits = waits

    def provide(self, execution: Execution, releases: Releases) -> Any:
        self._log.append(f"open {self._name}")
        releases.callback(self._log.append, f"close {self._name}")
        return self._later() if self._waits else 40

    async def _later(self) -> int:
        await asyncio.sleep(0)
        return 2


class Numbers:
    """Provides each parameter whose default says so."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.asked: list[str] = []

    def qtasks_register_injector(self, task: TaskDefinition, parameter: Parameter) -> Number | None:
        self.asked.append(f"{task.name} {parameter.name}")
        if not isinstance(parameter.default, Wanted):
            return None
        return Number(self.log, parameter.name, waits=parameter.name == "two")


@pytest.fixture
def app() -> Iterator[QueueTasks]:
    """Return an app in memory."""
    yield (app := QueueTasks("injected", "memory://"))
    app.core.close_portal()


@pytest.fixture
def numbers(app: QueueTasks) -> Numbers:
    """Return the plugin that provides numbers."""
    app.add_plugin(plugin := Numbers())
    return plugin


@contextlib.asynccontextmanager
async def _at_work(app: QueueTasks) -> AsyncIterator[None]:
    async with asyncio.timeout(50), app.worker():
        yield


async def test_what_is_provided_stands_between_what_is_passed(app: QueueTasks, numbers: Numbers) -> None:
    """Wherever it stands, also beside a context; callers do not see it."""

    @app.task
    async def add(
        forty: Any = WANTED, ctx: AsyncTaskContext = WANTED, x: int = 0, *, two: Any = WANTED, y: int = 0
    ) -> list[Any]:
        return [forty + two + x + y, ctx.task_name]

    async with _at_work(app):
        assert [45, "add"] == await (await add.add_task(1, y=2)).result()
    assert ["x", "y"] == list(add.definition.signature.parameters.parameters)
    assert ["open forty", "open two", "close two", "close forty"] == numbers.log
    assert {"add forty", "add x", "add two", "add y"} == set(numbers.asked)


async def test_a_thread_gets_it_too(app: QueueTasks, numbers: Numbers) -> None:
    """It is made on the loop, and released there when the function has returned."""

    @app.task
    def where(two: Any = WANTED) -> list[Any]:
        numbers.log.append("run")
        return [two, threading.current_thread() is threading.main_thread()]

    async with _at_work(app):
        assert [2, False] == await (await where.add_task()).result()
    assert ["open two", "run", "close two"] == numbers.log


async def test_it_is_released_whatever_happens(app: QueueTasks, numbers: Numbers) -> None:
    """After an error, a timeout, and when a later one cannot be made."""

    class Broken:
        def qtasks_register_injector(self, parameter: Parameter) -> Broken | None:
            return self if parameter.name == "broken" else None

        def provide(self, execution: Execution, releases: Releases) -> Any:
            raise RuntimeError("no connection")

    app.add_plugin(Broken())

    @app.task
    async def fails(forty: Any = WANTED) -> None:
        raise ValueError(forty)

    @app.task(timeout=0.05)
    async def hangs(forty: Any = WANTED) -> None:
        await asyncio.Event().wait()

    @app.task
    async def never(forty: Any = WANTED, broken: Any = None) -> None:
        numbers.log.append("run")

    async with _at_work(app):
        for task, error in ((fails, "ValueError"), (hangs, "TaskTimeoutError"), (never, "no connection")):
            with pytest.raises(TaskFailedError, match=error):
                await (await task.add_task()).result()
    assert ["open forty", "close forty"] * 3 == numbers.log


async def test_it_is_made_inside_of_the_middlewares(app: QueueTasks, numbers: Numbers) -> None:
    """They see that something is to come; a task that one of them stops opens nothing."""
    seen: list[str] = []

    class Looks(TaskMiddleware):
        def before(self, execution: Execution) -> None:
            seen.append(repr((execution.args, execution.kwargs)))
            raise ValueError("stopped")

    @app.task(middlewares=[Looks])
    async def job(forty: Any = WANTED) -> None: ...

    async with _at_work(app):
        with pytest.raises(TaskFailedError, match="stopped"):
            await (await job.add_task()).result()
    assert (["((<forty: not provided yet>,), {})"], []) == (seen, numbers.log)


async def test_the_function_itself_is_called_with_what_it_is_given(app: QueueTasks, numbers: Numbers) -> None:
    """Outside of a worker nobody provides anything; `call_task` runs it as a worker does."""

    @app.task
    async def add(x: int, forty: Any = WANTED) -> int:
        return x + int(forty)

    assert 3 == await add(1, forty=2)
    with pytest.raises(TypeError, match=r"task 'add': 'forty' is provided when a worker runs the task; .*forty="):
        await add(1)
    assert 41 == await call_task(add, 1)


async def test_a_plugin_adds_injectors_and_middlewares_to_a_task(app: QueueTasks) -> None:
    """When it is declared: its runs pay for nothing else."""
    log: list[str] = []

    class Notes(TaskMiddleware):
        def before(self, execution: Execution) -> None:
            log.append(execution.task_name)

    class Extends:
        def qtasks_register_task(self, task: TaskDefinition) -> TaskDefinition | None:
            if "notes" not in task.extra:
                return None
            return task.providing(n=Number(log, "n", waits=False)).with_middlewares(Notes())

    app.add_plugin(Extends())

    @app.task(notes=True)  # type: ignore[call-overload, untyped-decorator]  # an option of the plugin's
    async def noted(n: int) -> int:
        return n

    @app.task
    async def plain(n: int) -> int:
        return n

    async with _at_work(app):
        assert (40, 7) == (await (await noted.add_task()).result(), await (await plain.add_task(7)).result())
    assert ["noted", "open n", "close n"] == log


def test_a_task_may_be_given_back_in_a_replace(app: QueueTasks) -> None:
    """As any other value."""

    class Extends:
        def qtasks_register_task(self, task: TaskDefinition) -> Replace:
            return Replace(task.providing(n=Number([], "n", waits=False)))

    app.add_plugin(Extends())

    @app.task
    async def job(n: int, x: int) -> None: ...

    assert ["x"] == list(job.definition.signature.parameters.parameters)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda task: task.renamed("other"), "P: trigger qtasks_register_task changed the name"),
        (lambda task: "nonsense", "P: trigger qtasks_register_task: expected a task, got str"),
        (lambda task: task.providing(y=Number([], "y", waits=False)), "an injector is for the parameter 'y', which"),
        (lambda task: task.providing(x=3), "task 'job': parameter 'x': expected an Injector, got 3"),
        (lambda task: 1 / 0, "P: trigger qtasks_register_task raised ZeroDivisionError"),
    ],
    ids=["renames", "nonsense", "no such parameter", "no injector", "raises"],
)
def test_a_declaration_that_a_plugin_spoils_fails(app: QueueTasks, answer: Any, message: str) -> None:
    """With plugin and trigger; the task is not there."""

    class P:
        def qtasks_register_task(self, task: TaskDefinition) -> Any:
            return answer(task)

    app.add_plugin(P())

    with pytest.raises(PluginError, match=message):

        @app.task
        async def job(x: int) -> None: ...

    assert {} == app.tasks


async def test_what_is_there_already_is_put_in_its_place_at_once(app: QueueTasks) -> None:
    """An injector that is ready is not asked to provide; beside one that is not, and inside of middlewares."""
    log: list[str] = []

    class Kept(Number):
        def __init__(self, name: str, *, is_open: bool) -> None:
            super().__init__(log, name, waits=False)
            self._is_open = is_open

        def ready(self, execution: Execution) -> Any:
            log.append(f"ask {self._name}")
            return f"kept {self._name}" if self._is_open else NOT_READY

    class Provides:
        def qtasks_register_injector(self, parameter: Parameter) -> Kept | None:
            return Kept(parameter.name, is_open=parameter.name == "one") if parameter.default is WANTED else None

    app.add_plugin(Provides())

    @app.task
    async def kept(x: int, one: Any = WANTED) -> list[Any]:
        return [x, one]

    @app.task
    async def between(one: Any = WANTED, x: int = 0, *, two: Any = WANTED) -> list[Any]:
        return [one, x, two]

    @app.task(middlewares=[TaskMiddlewareThatWaits])
    async def inside(x: int, one: Any = WANTED) -> list[Any]:
        return [x, one]

    async with _at_work(app):
        assert [1, "kept one"] == await (await kept.add_task(1)).result()
        assert ["ask one"] == log
        assert ["kept one", 5, 40] == await (await between.add_task(5)).result()
        assert ["ask one", "ask two", "open two", "close two"] == sorted(log[1:], key=lambda step: step.endswith("two"))
        assert [2, "kept one"] == await (await inside.add_task(2)).result()


class TaskMiddlewareThatWaits(TaskMiddleware):
    async def before(self, execution: Execution) -> None:
        assert "not provided yet" in repr((execution.args, execution.kwargs))
