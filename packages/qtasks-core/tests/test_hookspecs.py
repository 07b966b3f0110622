"""Every trigger is declared once, as the table says, and is called somewhere."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy
import pytest

from qtasks_core import hookspecs
from qtasks_core.errors import TaskPluginTriggerError
from qtasks_core.hookspecs._marker import is_synchronous, kept_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.aio import QueueTasks
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")

SOURCE = Path(hookspecs.__file__).parents[1]

# name | arguments | what it replaces, N (notifies) or 1 (the first answer wins) | hot or not, sync
TABLE = """
qtasks_add_task_before_broker | qtasks, broker, message | message | hot
qtasks_add_task_after_broker | qtasks, broker, message | N | hot
qtasks_get | qtasks, broker, task | task |
qtasks_stop | qtasks, starter | N |
qtasks_ping | qtasks, global_config | N |
qtasks_flush_all | qtasks, broker | N |
broker_start | broker, worker | N |
broker_stop | broker, worker | N |
broker_listen_start | broker, worker | N |
broker_add_before | broker, storage, message | message | hot
broker_add_after | broker, storage, message | N | hot
broker_add_worker | broker, worker, delivery | delivery | hot
broker_get | broker, task | task |
broker_update | broker, record | record | hot
broker_remove_finished_task | broker, storage, record | record | hot
broker_running_older_tasks | broker, worker, deliveries | N |
broker_flush_all | broker | N |
storage_start | storage | N |
storage_stop | storage | N |
storage_add | storage, record | record | hot
storage_add_process | storage, record | record | hot
storage_get | storage, task | task |
storage_get_all | storage, tasks | tasks |
storage_update | storage, record | record |
storage_remove_finished_task | storage, record | N | hot
storage_running_older_tasks | storage, worker, delivery | N |
storage_delete_finished_tasks | storage | N |
storage_flush_all | storage | N |
global_config_start | global_config | N |
global_config_stop | global_config | N |
global_config_set | global_config, key, value | (key, value) |
global_config_get | global_config, key, value | value |
global_config_get_all | global_config, values | values |
global_config_get_match | global_config, values | values |
global_config_set_status | global_config, status | N |
worker_start | worker | N |
worker_stop | worker | N |
worker_add | worker, delivery | delivery | hot
worker_execute_before | worker, execution | N | hot
worker_run_task_before | worker, execution | execution | hot
worker_task_error_retry | worker, execution, error, outcome | outcome |
worker_remove_finished_task | worker, execution, record | record | hot
worker_execute_after | worker, execution, record | N | hot
worker_outcome | worker, outcome | N | hot
worker_process_start | qtasks | N |
worker_process_stop | qtasks | N |
task_executor_args_replace | task_executor, execution, args, kwargs, args_info | (args, kwargs) | hot
task_executor_before_execute | task_executor, execution | N | hot
task_executor_middlewares_execute | task_executor, execution, middlewares | N | hot
task_executor_run_task | task_executor, execution, result | result | hot
task_executor_run_task_gen | task_executor, execution, results | results | hot
task_executor_run_task_trigger_error | task_executor, execution, error | result: the first answer wins |
task_executor_after_execute | task_executor, execution | N | hot
task_executor_after_execute_result_replace | task_executor, execution, result | result | hot
task_executor_decode | task_executor, execution, result | result | hot
task_executor_task_close | task_executor, execution, error | N | hot
starter_start | starter | N |
starter_stop | starter | N |
stats_inspect | stats | N |
qtasks_configure | qtasks | N | sync
qtasks_register_task | qtasks, task | task | sync
qtasks_register_injector | qtasks, task, parameter | nothing: the first answer wins | sync
"""

# Called where one worker that runs two tasks does not come: when an app is built, in other processes, for parked tasks
# and those of other workers, retries, generators.
NOT_IN_A_SHORT_LIFE = {
    "broker_running_older_tasks",
    "broker_update",
    "global_config_get",
    "global_config_get_all",
    "global_config_set_status",
    "qtasks_configure",
    "qtasks_stop",
    "starter_start",
    "starter_stop",
    "stats_inspect",
    "storage_add_process",
    "storage_delete_finished_tasks",
    "storage_get_all",
    "storage_running_older_tasks",
    "storage_update",
    "task_executor_run_task_gen",
    "worker_process_start",
    "worker_process_stop",
}


class Row(NamedTuple):
    name: str
    arguments: list[str]
    kind: str
    marks: str


ROWS = [
    Row(name, arguments.split(", "), kind, marks)
    for name, arguments, kind, marks in (
        [part.strip() for part in line.split("|")] for line in TABLE.strip().splitlines()
    )
]
NAMES = {row.name for row in ROWS}


def _spec(name: str) -> Any:
    return getattr(hookspecs, name)


def _constants(node: ast.AST) -> Iterator[str]:
    """Yield the texts that stand in a module, but for those that only list names."""
    if isinstance(node, ast.Assign) and any(
        isinstance(one, ast.Name) and one.id == "_TRIGGERS" for one in node.targets
    ):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _constants(child)


def _sites() -> set[str]:
    """Return the triggers that are called somewhere in the core."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        constants = set(_constants(ast.parse(text))) if "hookspecs" not in path.parts else set()
        found |= constants
        for ending in ("start", "stop"):
            if f'f"{{name}}_{ending}"' in text:
                found |= {f"{part}_{ending}" for part in re.findall(r'_start_part\("(\w+)"', text)}
    return found & NAMES


def test_the_declared_triggers_are_those_of_the_table() -> None:
    """Pluggy finds each trigger of the table in the package, and none besides; `__all__` is sorted."""
    manager = pluggy.PluginManager("qtasks")
    manager.add_hookspecs(hookspecs)

    assert sorted(NAMES) == sorted(vars(manager.hook))
    assert sorted(NAMES) == hookspecs.__all__
    assert len(NAMES) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_trigger_gives_the_arguments_of_the_table(row: Row) -> None:
    """Names and order are the table's; each argument and the result has a type, and none has a default."""
    signature = inspect.signature(_spec(row.name))

    assert row.arguments == list(signature.parameters)
    assert [] == [
        one.name
        for one in signature.parameters.values()
        if one.annotation is one.empty or one.default is not one.empty or one.kind is not one.POSITIONAL_OR_KEYWORD
    ]
    assert signature.return_annotation is not signature.empty
    assert (row.kind == "N") == (signature.return_annotation == "None")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_trigger_says_what_the_table_says(row: Row) -> None:
    """Its docstring tells when it is called, its kind and heat, what its result does, and since when it is there."""
    first, _, rest = inspect.cleandoc(_spec(row.name).__doc__).partition("\n\n")
    rest = " ".join(rest.split())
    kind = "Notifies" if row.kind == "N" else f"Replaces {row.kind}"
    heat = "Hot" if row.marks == "hot" else "Not hot"
    result = (
        r"The result is ignored\b.*" if row.kind == "N" else r"Return .*\bor None (to leave|when it is not yours).*"
    )

    assert re.match(r"Called when .+[.:]?", first)
    assert re.fullmatch(rf"{re.escape(kind)}\. {heat}\..* {result}\. Since 0\.1\.", rest), rest
    assert (row.marks == "sync") == (" Synchronous. " in rest) == is_synchronous(_spec(row.name))


def test_a_trigger_that_names_another_names_one_that_exists() -> None:
    """An order is told by the names of other triggers."""
    named = {
        name
        for row in ROWS
        for name in re.findall(r"`([a-z]+_[a-z_]+)`", _spec(row.name).__doc__)
        if name.partition("_")[0] in {"qtasks", "broker", "storage", "global", "worker", "task", "starter", "stats"}
    }

    assert set() == named - NAMES
    assert "broker_add_before" in named


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_trigger_is_historic(row: Row) -> None:
    """A plugin that comes late is not told of the past; that the first answer wins is said as pluggy says it."""
    options = _spec(row.name).qtasks_spec

    assert (False, "the first answer wins" in row.kind) == (options["historic"], options["firstresult"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_known_by_an_id_is_protected(row: Row) -> None:
    """Each trigger that replaces a message, a delivery or a record says what of it stays, and its docstring too."""
    known_by_an_id = row.kind in {
        "delivery",
        "execution",
        "message",
        "outcome",
        "record",
        "task",
        "tasks",
    }
    kept = kept_by(_spec(row.name))

    assert known_by_an_id == (kept is not None and bool(kept.names))
    if kept is not None:
        doc = " ".join(_spec(row.name).__doc__.split())
        assert [] == [name for name in kept.names if name not in doc]


def test_each_trigger_has_a_call_site() -> None:
    """No name is declared that nothing calls."""
    assert set() == NAMES - _sites()


def _called(name: str, seen: dict[str, list[str]]) -> SimpleNamespace:
    """Return a plugin that answers one trigger and takes all its arguments."""

    def answer(**given: Any) -> None:
        seen[name] = sorted(given)

    return SimpleNamespace(**{name: hookimpl(answer)})


@pytest.mark.parametrize(
    "name",
    sorted(NAMES - NOT_IN_A_SHORT_LIFE),
)
async def test_a_call_site_gives_all_arguments(name: str, app: QueueTasks, running: Running) -> None:
    """A plugin that takes all that a trigger declares is called in the life of a worker, and does no harm."""
    seen: dict[str, list[str]] = {}
    app.core.triggers.register(_called(name, seen))

    @app.task(middlewares_before=[lambda execution: None])
    async def add(x: int, y: int) -> int:
        return x + y

    @app.task
    async def ask() -> None:
        raise TaskPluginTriggerError

    async with running(app):
        added = await add.add_task(1, 2)
        result = await added.result(timeout=5)
        await ask.add_task().wait(timeout=5)
        await app.get(added.uuid)
        await app.ping(timeout=0.01)
    await app.flush_all()
    await app.stop()

    assert {} == app.core.triggers.failures
    assert {name: sorted(inspect.signature(_spec(name)).parameters)} == seen
    assert 3 == result


async def test_a_running_worker_freezes_the_hot_triggers_and_no_others(app: QueueTasks, running: Running) -> None:
    """What is frozen is what the table calls hot, so that a plugin is refused for these only."""
    async with running(app):
        frozen = {name for freeze in app.core.triggers._frozen.values() for name in freeze.names}

    assert {row.name for row in ROWS if row.marks == "hot"} == frozen


def test_pluggy_is_not_loaded_before_the_first_plugin() -> None:
    """An app without plugins never imports it; the first plugin does."""
    script = (
        "import sys, qtasks_core.app\n"
        "from qtasks_core.aio import QueueTasks\n"
        "app = QueueTasks('test', 'memory://')\n"
        "assert app.core.triggers.of('broker_start') == ()\n"
        "print('pluggy' in sys.modules)\n"
        "app.core.triggers.register(object())\n"
        "print('pluggy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ["False", "True"] == done.stdout.split()


def test_declarations_have_no_body() -> None:
    """A declaration is never run: it holds its docstring and nothing else."""
    for row in ROWS:
        spec = _spec(row.name)
        assert isinstance(spec, FunctionType)
        (function,) = ast.parse(inspect.getsource(spec)).body
        assert isinstance(function, ast.FunctionDef)
        assert 1 == len(function.body)
