"""Which functions a process can run: those that it can import, and no name from a payload has a say in that."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from processes import functions
from processes.bench import declare
from qtasks_core.aio import QueueTasks
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import ConfigError
from qtasks_core.worker.processes import ProcessTaskExecutor
from qtasks_core.worker.processes.messages import Place
from qtasks_core.worker.processes.places import find, find_app, main_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from processes.bench import Running


def _nested() -> Callable[..., Any]:
    def inner() -> None: ...

    return inner


class _Callable:
    def __call__(self) -> None: ...


def _shadowed() -> None: ...


_first = _shadowed


def _shadowed() -> None:  # type: ignore[no-redef]  # on purpose
    ...


def _stranger() -> None: ...


_stranger.__module__ = "no.such.module"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: None, "it has no name there"),
        (_nested(), "it has no name there"),
        (_Callable(), "it has no name there"),
        (functools.partial(functions.square, 2), "it has no name there"),
        (_first, "is another object"),
        (_stranger, "no.such.module:_stranger is not there"),
    ],
    ids=["lambda", "nested", "object", "partial", "shadowed", "stranger"],
)
async def test_what_cannot_be_imported_stops_the_worker(
    app: QueueTasks, running: Running, function: Any, why: str
) -> None:
    """Before it takes a task; the error names the task, the function, its place, and what is expected."""
    declare(app, function, name="mine")
    expected = rf"task 'mine': a process can only run a function that it can import, as def or async def .*{why}"
    with pytest.raises(ConfigError, match=expected):
        async with running(app):
            pass
    await app.stop()


async def test_the_same_function_may_be_a_task_of_any_other_kind(app: QueueTasks, running: Running) -> None:
    """Only a process has to import it."""
    app.task(name="mine")(_nested())
    async with running(app):
        assert await app.add_task("mine").result(timeout=5) is None


@pytest.mark.parametrize(
    ("function", "qualname"), [(functions.square, "square"), (functions.Holder.inside, "Holder.inside")]
)
def test_a_place_is_module_and_qualified_name(function: Any, qualname: str) -> None:
    """As Python has them; the task's own name may be another one."""
    place = place_of(TaskDefinition(function, name="other"))

    assert Place("other", "processes.functions", qualname, echo=False, has_handler=False) == place
    assert function is find(place)[0].function


def test_what_app_task_returned_is_found() -> None:
    """With its options and its app."""
    definition, app = find(place_of(functions.handled.definition))

    assert functions.handled.definition is definition
    assert functions.app.core is app


def test_the_options_of_another_task_of_the_function_are_not_taken() -> None:
    """A function may be several tasks: the name decides."""
    other = TaskDefinition(functions.handled.definition.function, name="other")
    definition, app = find(place_of(other))

    assert ("other", None, None) == (definition.name, definition.options["generate_handler"], app)


def test_a_handler_must_be_found_too() -> None:
    """It is an option of what `app.task` returned, so the module has to keep that."""
    place = place_of(TaskDefinition(functions.count, generate_handler=functions.tenfold))
    with pytest.raises(ConfigError, match=r"task 'count': processes.functions does not keep what app.task\(…\) return"):
        find(place)


def test_the_app_knows_its_tasks() -> None:
    """Where the app is known, a task has the options that it has there, whoever keeps it in a variable."""
    app = QueueTasks("other", "memory://")
    app.task(name="mine", generate_handler=functions.tenfold)(functions.count)
    definition, found = find(place_of(app.core.registry.as_mapping()["mine"]), app.core)

    assert app.core is found
    assert functions.tenfold is definition.options["generate_handler"]


def test_the_app_of_the_command_line_is_imported() -> None:
    """By the name that was given there; one that is not there is told, and done without."""
    assert functions.app.core is find_app("processes.functions", "app")
    assert find_app("processes.functions", "square") is None


@pytest.mark.parametrize("place", [("no.such.module", "app"), ("processes.functions", "nothing")])
def test_an_app_that_is_not_there_is_done_without(place: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """With a warning: tasks that do not need it run."""
    assert find_app(*place) is None
    assert f"the app is not known in a process for tasks: {':'.join(place)}" in caplog.text


def test_a_place_that_is_empty_there_is_told() -> None:
    """A process that imports other code than its worker."""
    with pytest.raises(ConfigError, match=r"task 'gone': there is no processes.functions:gone"):
        find(Place("gone", "processes.functions", "gone", echo=False, has_handler=False))


def test_a_program_without_a_file_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive session, or `python -c`."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    with pytest.raises(ConfigError, match="task 'job': its function is not in a file: expected one in a module"):
        main_of([Place("job", "__main__", "job", echo=False, has_handler=False)])


def test_the_program_is_not_imported_when_no_task_is_in_it() -> None:
    """A command line, or a server that embeds a worker, does not run twice."""
    assert {} == main_of([place_of(TaskDefinition(functions.square))])


def test_an_executor_serves_one_app(app: QueueTasks) -> None:
    """An instance belongs to the app whose tasks it gets first."""
    executor = ProcessTaskExecutor()
    executor.adopt(app.core, TaskDefinition(functions.square))
    with pytest.raises(ConfigError, match=r"task 'handled': this ProcessTaskExecutor runs tasks of app 'test'"):
        executor.adopt(functions.app.core, functions.handled.definition)
