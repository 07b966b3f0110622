"""What triggers cost a task: with no plugin, with one that is never called for a task, with ten, and with ten calls."""

from __future__ import annotations

import asyncio
import timeit
from typing import TYPE_CHECKING, Any

from _subject import main
from micro_memory import Count, drain

from qtasks.asyncio import QueueTasks
from qtasks.executors import TaskExecutor
from qtasks_core.config import QueueConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qtasks.plugins import Execution

PLUGINS = 10
LOOPS = 200_000


def no_plugin(_: Path, tasks: int) -> dict[str, float]:
    """Work off tasks of an app without a plugin."""
    return _drain(_app(), tasks)


def never_called(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with a plugin that answers no trigger of a task."""
    app = _app()
    app.add_plugin(Never())
    return _drain(app, tasks)


def one_def(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with one plugin on `task_executor_args_replace`."""
    return _drain(_plugged(Plain, 1), tasks)


def ten_defs(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with ten."""
    return _drain(_plugged(Plain, PLUGINS), tasks)


def ten_async(_: Path, tasks: int) -> dict[str, float]:
    """Do the same with ten that are coroutine functions."""
    return _drain(_plugged(Awaited, PLUGINS), tasks)


def ten_calls(_: Path, tasks: int) -> dict[str, float]:
    """No plugin, and an executor that calls the same ten functions itself."""
    return _drain(_app(Calling), tasks)


def ten_awaits(_: Path, tasks: int) -> dict[str, float]:
    """No plugin, and an executor that awaits the same ten coroutine functions itself."""
    return _drain(_app(Awaiting), tasks)


def sites(_: Path, tasks: int) -> dict[str, float]:  # noqa: ARG001  # as the others are called
    """Ask only what a task without a plugin asks at the places where triggers are called."""
    app, found = _app(), []

    @app.task
    async def nothing() -> None: ...

    async def measure() -> None:
        async with app.worker():
            found.append(_sites(app.core.engine()))

    asyncio.run(measure())
    return {"cpu_us": min(timeit.repeat(found[0], number=LOOPS, repeat=5)) / LOOPS * 1e6}


def _sites(engine: Any) -> Callable[[], None]:
    """Return the questions of one task's life, from its add to its record, on the objects that ask them."""
    worker = engine.worker
    runner, settler, executor, marker = worker._runner, worker._settler, worker._executors.default, worker._marker  # noqa: SLF001  # what is measured
    triggers = executor._triggers  # noqa: SLF001  # as above
    run = type("Run", (), {"is_suspect": False})()
    assert runner.observer is None  # noqa: S101  # else something else is measured

    def ask() -> None:
        _ = engine._is_heard  # noqa: SLF001  # as above
        if run.is_suspect:
            raise RuntimeError
        if runner.observer is not None:
            raise RuntimeError
        if executor._has_triggers:  # noqa: SLF001  # as above
            raise RuntimeError
        if triggers.of("task_executor_run_task_trigger_error"):
            raise RuntimeError
        if runner.observer is not None:
            raise RuntimeError
        if settler.written is not None:
            raise RuntimeError
        if marker.prepare is not None:
            raise RuntimeError

    return ask


class Never:
    """Answers no trigger of a task."""

    def worker_stop(self) -> None: ...


class Plain:
    """Replaces arguments."""

    def task_executor_args_replace(self, args: tuple[int], kwargs: dict[str, Any]) -> Any:
        return (args[0] + 1,), kwargs


class Awaited:
    """The same, and is awaited."""

    async def task_executor_args_replace(self, args: tuple[int], kwargs: dict[str, Any]) -> Any:
        return (args[0] + 1,), kwargs


class Calling(TaskExecutor):
    """Does itself what ten plugins would do."""

    functions = tuple(Plain().task_executor_args_replace for _ in range(PLUGINS))

    async def run(self, execution: Execution) -> Any:
        for function in self.functions:
            args, kwargs = function(execution.args, execution.kwargs)
            execution.args, execution.kwargs = args, kwargs
        return await super().run(execution)


class Awaiting(TaskExecutor):
    """The same, with coroutine functions."""

    functions = tuple(Awaited().task_executor_args_replace for _ in range(PLUGINS))

    async def run(self, execution: Execution) -> Any:
        for function in self.functions:
            args, kwargs = await function(execution.args, execution.kwargs)
            execution.args, execution.kwargs = args, kwargs
        return await super().run(execution)


def _plugged(kind: type, count: int) -> QueueTasks:
    app = _app()
    for _ in range(count):
        app.add_plugin(kind())
    return app


def _app(executor: type[TaskExecutor] | None = None) -> QueueTasks:
    return QueueTasks(broker_url="memory://", config=QueueConfig(concurrency=100), task_executor=executor)


def _drain(app: QueueTasks, tasks: int) -> dict[str, float]:
    count = Count(tasks)

    @app.task
    async def counted(number: int) -> int:
        count.add(app)
        return number

    return drain(app, count)


if __name__ == "__main__":
    main(
        {
            "no_plugin": no_plugin,
            "never_called": never_called,
            "one_def": one_def,
            "ten_defs": ten_defs,
            "ten_async": ten_async,
            "ten_calls": ten_calls,
            "ten_awaits": ten_awaits,
            "sites": sites,
        }
    )
