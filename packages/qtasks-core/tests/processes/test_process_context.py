"""What a task in a process sees of its own run, and what of it is heard outside: marks, logs, prints."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from processes import functions
from processes.bench import declare
from qtasks_core.errors import TaskFailedError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.task import Progress
from qtasks_core.triggers import Replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from processes.bench import Running
    from qtasks_core.aio import QueueTasks
    from qtasks_core.contract import Execution

hookimpl = pluggy.HookimplMarker("qtasks")


@pytest.fixture
async def own_app() -> AsyncIterator[QueueTasks]:
    """Return the app that stands beside the functions."""
    yield functions.app
    await functions.app.stop()


# ---------------------------------------------------------------- the context


async def test_a_task_has_its_context(app: QueueTasks, running: Running) -> None:
    """By annotation, by echo=True and from current_context(): name, uuid, attempt, queue, headers; its marks arrive."""
    about = declare(app, functions.about)
    async with running(app):
        task = await about.with_options(headers={"tenant": "a"}).add_task(5)
        found = await task.result(timeout=20)
        await task.refresh()

    assert ["about", str(task.uuid), 1, "default", {"tenant": "a"}, 5] == found
    assert Progress(1, 2, "half") == task.progress


async def test_the_context_of_an_async_def_is_awaited(app: QueueTasks, running: Running) -> None:
    """As on a worker's loop."""
    about = declare(app, functions.about_async)
    async with running(app):
        assert ["about_async", False, -5] == await about.with_options(priority=-5).add_task().result(timeout=20)


async def test_the_workers_components_are_not_there(app: QueueTasks, running: Running) -> None:
    """The error says so."""
    component = declare(app, functions.component)
    async with running(app):
        with pytest.raises(TaskFailedError, match=r"get_component\('broker'\): the worker's components are not in the"):
            await component.add_task("broker").result(timeout=20)


async def test_the_app_is_the_one_of_the_functions_module(own_app: QueueTasks, running: Running) -> None:
    """As the process has imported it."""
    async with running(own_app):
        assert "functions" == await functions.name_of_own_app.add_task().result(timeout=20)
        assert "another name" == await functions.with_another_name.add_task().result(timeout=20)


async def test_an_app_that_is_not_known_says_so(app: QueueTasks, running: Running) -> None:
    """A function whose module does not hold what `app.task` returned."""
    name = declare(app, functions.name_of_app)
    async with running(app):
        with pytest.raises(TaskFailedError, match="the app is not known in this process: import it in"):
            await name.add_task().result(timeout=20)


async def test_memory_is_out_of_reach(own_app: QueueTasks, running: Running) -> None:
    """What a process would add to memory:// of its own, no worker would ever see: it is refused."""
    async with running(own_app):
        with pytest.raises(TaskFailedError, match="memory:// is in the process of the worker"):
            await functions.add_another.add_task().result(timeout=20)


async def test_contextvars_stay_where_they_are(app: QueueTasks, running: Running) -> None:
    """Neither the worker's nor those of the task before are seen."""
    task = declare(app, functions.set_variable)
    functions.variable.set("of the worker")
    async with running(app):
        assert ["unset", "unset"] == [await task.add_task(str(n)).result(timeout=20) for n in range(2)]


# ---------------------------------------------------------------- plugins


async def test_what_plugins_provide_is_made_in_the_process(own_app: QueueTasks, running: Running) -> None:
    """And released there when the function has returned, of a `def` and of an `async def`."""
    async with running(own_app, concurrency=1):
        for count, task in enumerate((functions.provided_ids, functions.provided_ids_async)):
            call: Any = task
            provided, process, number, released = await call.add_task(x=7).result(timeout=20)
            assert (process, 7, count) == (provided, number, released)
            assert os.getpid() != process


def _plugin(**implementations: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in implementations.items()})


async def test_plugins_see_and_change_arguments_and_results(app: QueueTasks, running: Running) -> None:
    """In the worker: what they change is what the process gets."""
    doubling = _plugin(
        task_executor_args_replace=lambda args: ((args[0] * 2,), {}),
        task_executor_after_execute_result_replace=lambda result: result + 1,
    )
    app.core.triggers.register(doubling)
    square = declare(app, functions.square)
    async with running(app):
        assert 37 == await square.add_task(3).result(timeout=20)


async def test_an_argument_of_a_plugin_that_cannot_travel_is_told(app: QueueTasks, running: Running) -> None:
    """Named as what it is, at the first attempt."""
    app.core.triggers.register(_plugin(task_executor_args_replace=lambda kwargs: ((object(),), kwargs)))
    square = declare(app, functions.square, retry=3)
    async with running(app):
        with pytest.raises(TaskFailedError, match="that a plugin or a middleware has put there cannot be encoded"):
            await square.add_task(3).result(timeout=20)


async def test_a_task_may_ask_plugins_for_its_result(app: QueueTasks, running: Running) -> None:
    """What it tells them travels."""
    answering = _plugin(task_executor_run_task_trigger_error=lambda error: Replace(error.kwargs["question"] + "!"))
    app.core.triggers.register(answering)
    ask = declare(app, functions.ask_plugins)
    async with running(app):
        assert "why!" == await ask.add_task("why").result(timeout=20)


async def test_middlewares_run_in_the_worker(app: QueueTasks, running: Running) -> None:
    """Before and after, they see arguments and result; the timeout of the run is not theirs."""
    seen: list[Any] = []

    class Watching(TaskMiddleware):
        def before(self, execution: Execution) -> None:
            seen.append((os.getpid(), execution.args))
            execution.args = (execution.args[0] + 1,)

        def after(self, execution: Execution, result: Any) -> Any:
            return -result

    square = declare(app, functions.square, middlewares=[Watching()])
    async with running(app):
        assert -16 == await square.add_task(3).result(timeout=20)

    assert [(os.getpid(), (3,))] == seen


# ---------------------------------------------------------------- logs and prints


async def test_logs_reach_the_workers_handlers(
    app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """With text, level, name and plain extras; what no logger of the worker wants does not."""
    logging.getLogger("mine.loud").setLevel(logging.DEBUG)
    log = declare(app, functions.log)
    async with running(app):
        task = await log.add_task("hello")
        await task.result(timeout=20)
    logging.getLogger("mine.loud").setLevel(logging.NOTSET)

    warning, debug = [one for one in caplog.records if one.name.startswith("mine")]
    assert ("mine", logging.WARNING, "hello from afar") == (warning.name, warning.levelno, warning.getMessage())
    extras = vars(warning)
    assert ("log", str(task.uuid), 1) == (extras["task_name"], extras["task_uuid"], extras["attempt"])
    assert ("functions.py", "log") == (warning.filename, warning.funcName)
    assert os.getpid() != warning.process
    assert ("mine.loud", "wanted") == (debug.name, debug.getMessage())


async def test_whatever_is_logged_arrives(app: QueueTasks, running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Tracebacks as text; what no message can hold, in words."""
    log = declare(app, functions.log_error)
    async with running(app):
        await log.add_task().result(timeout=20)

    (record,) = [one for one in caplog.records if one.name == "mine"]
    assert f"it went wrong: \\udcff {1 << 70}" == record.getMessage()
    assert record.exc_text is not None
    assert "ValueError: inner" in record.exc_text
    assert "a number of 71 bits" == vars(record)["huge"]


async def test_what_a_task_prints_is_the_workers_output(
    app: QueueTasks, running: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the latest when it has ended."""
    print_it = declare(app, functions.print_it)
    async with running(app):
        await print_it.add_task("printed").result(timeout=20)

        assert "printed" == capfd.readouterr().out
