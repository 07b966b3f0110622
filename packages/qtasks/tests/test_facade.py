"""The façade: names of the core under the package that applications import, and nothing heavy loaded."""

import importlib
import pkgutil
import subprocess
import sys
import textwrap
from importlib.resources import files
from pathlib import Path

import pytest

import qtasks
import qtasks.asyncio
import qtasks.exc
import qtasks.exceptions
import qtasks.executors
import qtasks.middlewares
import qtasks.plugins
import qtasks.stats
import qtasks.testing
from qtasks_core import (
    aio,
    blocking,
    config,
    errors,
    gathering,
    middlewares,
    routers,
    shared,
    task_context,
    task_logs,
    testing,
    version,
)
from qtasks_core.worker.executor import TaskExecutor
from qtasks_core.worker.processes import ProcessTaskExecutor

PUBLIC = {
    "qtasks": [
        "AsyncRouter",
        "Progress",
        "QueueConfig",
        "QueueTasks",
        "Router",
        "StreamRestart",
        "SyncRouter",
        "TaskContext",
        "TaskLogFilter",
        "__version__",
        "as_completed",
        "current_context",
        "gather",
        "shared_task",
    ],
    "qtasks.asyncio": [
        "AsyncRouter",
        "Progress",
        "QueueTasks",
        "Router",
        "StreamRestart",
        "TaskContext",
        "as_completed",
        "current_context",
        "gather",
        "shared_task",
    ],
    "qtasks.exc": errors.__all__,
    "qtasks.exceptions": errors.__all__,
    "qtasks.executors": ["AsyncTaskExecutor", "ProcessTaskExecutor", "SyncTaskExecutor", "TaskExecutor"],
    "qtasks.middlewares": ["Draft", "Execution", "Replace", "TaskMiddleware"],
    "qtasks.plugins": [
        "BasePlugin",
        "Execution",
        "Injector",
        "ReadyInjector",
        "Releases",
        "Replace",
        "TaskDefinition",
        "hookimpl",
    ],
    "qtasks.stats": ["AsyncStats", "SyncStats"],
    "qtasks.testing": testing.__all__,
}
"""What applications may import; a name more or less is a decision."""

HEAVY = {"click", "rich", "pluggy", "sqlite3", "redis", "aio_pika", "aiormq", "aiokafka", "grpc", "uvloop", "pydantic"}


def run_program(text: str, *options: str) -> str:
    """Run a program with warnings as errors; return what it prints."""
    command = [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(text)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=50).stdout


# ---------------------------------------------------------------- names


def test_names_are_those_of_the_core() -> None:
    """The façade re-exports; it has nothing of its own."""
    assert blocking.QueueTasks is qtasks.QueueTasks
    assert config.QueueConfig is qtasks.QueueConfig
    assert version.__version__ == qtasks.__version__
    assert task_logs.TaskLogFilter is qtasks.TaskLogFilter
    assert aio.QueueTasks is qtasks.asyncio.QueueTasks
    assert TaskExecutor is qtasks.executors.TaskExecutor
    assert TaskExecutor is qtasks.executors.AsyncTaskExecutor is qtasks.executors.SyncTaskExecutor
    assert ProcessTaskExecutor is qtasks.executors.ProcessTaskExecutor
    assert all(getattr(errors, name) is getattr(qtasks.exceptions, name) for name in errors.__all__)
    assert all(getattr(errors, name) is getattr(qtasks.exc, name) for name in errors.__all__)


def test_each_face_has_its_own_form_of_a_name() -> None:
    """Blocking in `qtasks`, awaitable in `qtasks.asyncio`; what has one form only is the same in both."""
    blocking_names = {
        "Router": routers.SyncRouter,
        "TaskContext": task_context.BlockingTaskContext,
        "as_completed": gathering.as_completed_blocking,
        "gather": gathering.gather_blocking,
        "shared_task": shared.shared_task,
    }
    awaitable_names = {
        "Router": routers.AsyncRouter,
        "TaskContext": task_context.AsyncTaskContext,
        "as_completed": gathering.as_completed,
        "gather": gathering.gather,
        "shared_task": shared.async_shared_task,
    }

    assert blocking_names == {name: getattr(qtasks, name) for name in blocking_names}
    assert awaitable_names == {name: getattr(qtasks.asyncio, name) for name in awaitable_names}
    assert (qtasks.Router, qtasks.asyncio.Router) == (qtasks.SyncRouter, qtasks.AsyncRouter)
    assert qtasks.AsyncRouter is qtasks.asyncio.AsyncRouter
    for name in ("Progress", "StreamRestart", "current_context"):
        assert getattr(qtasks, name) is getattr(qtasks.asyncio, name)
    assert middlewares.TaskMiddleware is qtasks.middlewares.TaskMiddleware


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_each_module_offers_what_is_written_down(module: str) -> None:
    """By __all__, sorted; each name exists; `import *` brings these and no others."""
    content = importlib.import_module(module)
    namespace: dict[str, object] = {}
    exec(f"from {module} import *", namespace)  # noqa: S102  # as a user may write it

    assert PUBLIC[module] == content.__all__
    assert set(PUBLIC[module]) == set(namespace) - {"__builtins__"}


def test_every_module_is_written_down() -> None:
    """None is public by accident."""
    found = {f"qtasks.{one.name}" for one in pkgutil.iter_modules(qtasks.__path__) if not one.name.startswith("_")}

    assert set(PUBLIC) == found | {"qtasks"}


def test_the_modules_are_a_few_lines_long() -> None:
    """A façade only: whatever has more than names belongs into the core."""
    for path in (Path(str(files("qtasks")))).glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 50


# ---------------------------------------------------------------- what is loaded


def test_importing_loads_neither_click_nor_rich_nor_a_client() -> None:
    """`import qtasks` stays light: no command line, no plugin system, no server's client, not even sqlite3."""
    modules = ", ".join(name for name in PUBLIC if name != "qtasks.plugins")  # it is for those who write them
    loaded = run_program(f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})").split()

    assert set() == HEAVY & set(loaded)


def test_using_an_app_in_memory_loads_nothing_heavy_either() -> None:
    """What a client needs, and what a worker needs, is there without the command line and without plugins."""
    loaded = run_program(
        """
        import os, sys, threading
        from qtasks import QueueTasks

        os.environ["QTASKS_DISABLE_PLUGINS"] = "*"
        app = QueueTasks("light", "memory://")

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        add.add_task(1, 2)
        print(*{name.partition(".")[0] for name in sys.modules})
        """
    ).split()

    assert set() == HEAVY & set(loaded)


def test_the_core_does_not_import_the_facade() -> None:
    """Plugins depend on the core alone."""
    loaded = run_program(
        """
        import importlib, pkgutil, sys
        import qtasks_core

        for one in pkgutil.walk_packages(qtasks_core.__path__, "qtasks_core."):
            if not one.name.endswith("__main__"):
                importlib.import_module(one.name)
        print(*sys.modules)
        """
    ).split()

    assert [] == [name for name in loaded if name == "qtasks" or name.startswith("qtasks.")]


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_each_module_may_be_the_first_that_is_imported(module: str) -> None:
    """In any order, without a circle."""
    assert "done\n" == run_program(f"import {module}; print('done')")


# ---------------------------------------------------------------- python -m qtasks


def test_the_command_line_is_there_without_its_script() -> None:
    """`python -m qtasks version`, where the script is not on the PATH."""
    for module in ("qtasks", "qtasks_core"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", module, "version"],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert ("", 0) == (done.stderr, done.returncode)
        assert qtasks.__version__ in done.stdout


def test_an_app_works_from_the_facade() -> None:
    """Both faces, one app each, a worker in a thread: three lines of a user's program for each."""
    out = run_program(
        """
        import asyncio, threading
        import qtasks, qtasks.asyncio

        app = qtasks.QueueTasks("facade", "memory://")

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        worker = threading.Thread(target=app.run_forever)
        worker.start()
        print(add.add_task(1, 2).result(timeout=10))

        async def main() -> None:
            print(await add.aio.add_task(3, 4).result(timeout=10))
            await app.aio.stop()

        asyncio.run(main())
        app.stop()
        worker.join()

        other = qtasks.asyncio.QueueTasks("other", "memory://")

        @other.task
        async def double(x: int) -> int:
            return 2 * x

        async def use() -> None:
            async with other:
                print((await double.add_task(1)).status, await double(4))

        asyncio.run(use())
        """,
        "-X",
        "dev",
    )

    assert ["3", "7", "new", "8"] == out.split()


OPTIONAL = [
    ("qtasks", "Depends"),
    *[("qtasks.plugins", name) for name in ("AsyncState", "Depends", "ScopeEnum", "SyncState")],
]


@pytest.mark.parametrize(("module", "name"), OPTIONAL)
def test_what_an_extra_brings_is_found_where_it_is_installed(module: str, name: str) -> None:
    """It is the package's own; it is imported when it is asked for."""
    depends = pytest.importorskip("qtasks_depends")
    assert getattr(depends, name) is getattr(importlib.import_module(module), name)
    script = f"import sys, {module}; print('qtasks_depends' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "False\n" == done.stdout


@pytest.mark.parametrize(("module", "name"), OPTIONAL)
def test_what_an_extra_brings_is_explained_where_it_is_not(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install; a name that nobody brings is none."""
    monkeypatch.setitem(sys.modules, "qtasks_depends", None)
    with pytest.raises(ImportError) as caught:
        getattr(importlib.import_module(module), name)
    assert (f'{module}.{name} is in qtasks-depends, which is not installed: pip install "qtasks[depends]"') == str(
        caught.value
    )
    with pytest.raises(AttributeError, match=f"module {module!r} has no attribute 'Dependz'"):
        _ = importlib.import_module(module).Dependz
