"""Plugins that come late: refused where each task would have to ask for them, welcome everywhere else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core.contract import Evicts
from qtasks_core.errors import ConfigError, TaskPluginTriggerError
from qtasks_core.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.aio import QueueTasks
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")


def _plugin(**implementations: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in implementations.items()})


def _asks(*triggers: str) -> SimpleNamespace:
    return _plugin(**dict.fromkeys(triggers, lambda: None))


@pytest.mark.parametrize(
    "trigger", ["worker_add", "worker_outcome", "task_executor_run_task", "storage_add", "storage_remove_finished_task"]
)
async def test_a_worker_at_work_takes_no_plugin_on_a_hot_trigger(
    app: QueueTasks, running: Running, trigger: str
) -> None:
    """The error names plugin and trigger and says what to do; nothing of the plugin is registered."""
    async with running(app):
        with pytest.raises(ConfigError) as caught:
            app.core.triggers.register(_asks("worker_stop", trigger), "late")
        assert () == app.core.triggers.of("worker_stop")

    assert str(caught.value) == (
        f"plugin late: {trigger} runs for each task and is frozen while the app is at work; "
        "add plugins before its first task is added and its worker starts, or after app.stop()"
    )


async def test_after_the_stop_it_is_welcome(app: QueueTasks, running: Running) -> None:
    """The next worker calls it."""
    seen: list[str] = []

    @app.task
    async def job() -> None: ...

    async with running(app):
        await job.add_task().wait(timeout=5)
    app.core.triggers.register(_plugin(worker_execute_before=lambda: seen.append("before")))
    async with running(app):
        await job.add_task().wait(timeout=5)

    assert ["before"] == seen


async def test_the_other_triggers_take_plugins_at_any_time(app: QueueTasks, running: Running) -> None:
    """Those that are called once per lifetime, or seldom, look for them when they are called."""
    seen: list[str] = []
    begun = asyncio.Event()

    @app.task
    async def ask() -> str:
        raise TaskPluginTriggerError

    @app.task
    async def wait() -> None:
        if begun.is_set():
            return
        begun.set()
        await asyncio.Event().wait()

    async with running(app) as worker:
        app.core.triggers.register(
            _plugin(
                worker_stop=lambda: seen.append("stop"),
                broker_stop=lambda: seen.append("broker"),
                broker_running_older_tasks=lambda: seen.append("older"),
                task_executor_run_task_trigger_error=lambda: "a plugin's result",
            )
        )
        assert "a plugin's result" == await ask.add_task().result(timeout=5)
        task = await wait.add_task()
        await begun.wait()
        broker = app.core.engine().broker
        assert isinstance(broker, Evicts)
        await broker.evict(worker.name)
        await task.result(timeout=5)

    assert ["older", "stop", "broker"] == seen


async def test_a_client_freezes_what_is_called_for_each_add(app: QueueTasks) -> None:
    """From its first task on, until it is stopped; a worker's triggers are free."""
    await app.add_task("job")
    with pytest.raises(ConfigError, match="plugin P: broker_add_before runs for each task and is frozen"):
        app.core.triggers.register(_asks("broker_add_before"), "P")
    app.core.triggers.register(_asks("worker_add", "task_executor_run_task"))
    await app.stop()
    app.core.triggers.register(_asks("broker_add_before"), "P")

    assert ["P"] == [impl.plugin for impl in app.core.triggers.of("broker_add_before")]


def test_a_loop_that_ended_without_a_stop_freezes_nothing(app: QueueTasks) -> None:
    """Nobody is there who would not call the plugin."""

    async def forget_to_stop() -> None:
        await app.add_task("job")

    asyncio.run(forget_to_stop())
    app.core.triggers.register(_asks("broker_add_before"), "P")

    assert ["P"] == [impl.plugin for impl in app.core.triggers.of("broker_add_before")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_freezes_nothing() -> None:
    """The engines that its parent froze triggers for are not the child's."""
    program = """
    import os, pluggy, types
    from qtasks_core.blocking import QueueTasks
    app = QueueTasks("test", "memory://")
    app.add_task("job")
    if not (pid := os.fork()):
        plugin = types.SimpleNamespace(broker_add_before=pluggy.HookimplMarker("qtasks")(lambda: None))
        app.core.triggers.register(plugin, "P")
        app.add_task("job")
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)

    assert "7\n" == done.stdout


async def test_each_holder_thaws_for_itself() -> None:
    """A trigger is free when nobody calls it any more."""
    triggers, one, two = Triggers(), object(), object()
    assert {"worker_add": ()} == triggers.freeze(one, ["worker_add"])
    triggers.freeze(two, ["worker_add", "storage_add"])
    triggers.thaw(one)
    triggers.thaw(one)
    with pytest.raises(ConfigError, match="worker_add runs for each task"):
        triggers.register(_asks("worker_add"))
    triggers.thaw(two)
    triggers.register(_asks("worker_add", "storage_add"))

    assert (1, 1) == (len(triggers.of("worker_add")), len(triggers.of("storage_add")))
