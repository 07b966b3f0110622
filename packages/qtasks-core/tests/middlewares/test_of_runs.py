"""Middlewares around runs: in which order they go, and what their steps may do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from middlewares.steps import Noting, job
from qtasks_core.aio import QueueTasks
from qtasks_core.errors import CodecError, TaskFailedError, TaskPluginTriggerError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.triggers import Replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Execution
    from qtasks_core.options import Draft
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")


# ---------------------------------------------------------------- order


async def test_they_go_around_a_run_the_apps_first_then_the_tasks(app: QueueTasks, running: Running) -> None:
    """In the order in which they were added; functions are inside of all; each gets the result of what is inside."""
    notes: list[str] = []
    app.add_middleware(Noting("a", notes))
    app.add_middleware(Noting("b", notes))

    async def first(execution: Execution) -> None:
        notes.append(f"first {execution.args}")

    def then(execution: Execution) -> None:
        notes.append("then")

    def last(execution: Execution, result: Any) -> str:
        notes.append(f"last {result}")
        return f"{result}!"

    async def least(execution: Execution, result: Any) -> None:
        notes.append(f"least {result}")

    @app.task(middlewares=[Noting("c", notes)], middlewares_before=[first, then], middlewares_after=[last, least])
    async def echo(text: str) -> str:
        notes.append("runs")
        return text

    async with running(app):
        assert "x!cba" == await echo.add_task("x").result(timeout=5)

    assert [
        "a.before",
        "a.around",
        "b.before",
        "b.around",
        "c.before",
        "c.around",
        "first ('x',)",
        "then",
        "runs",
        "last x",
        "least x!",
        "c.around ends",
        "c.after x!",
        "b.around ends",
        "b.after x!c",
        "a.around ends",
        "a.after x!cb",
    ] == notes


async def test_an_error_is_told_from_the_inside_out(app: QueueTasks, running: Running) -> None:
    """Each middleware whose `before` had ended hears of it; `after` is for results only."""
    notes: list[str] = []
    app.add_middleware(Noting("a", notes))

    @app.task(middlewares=[Noting("b", notes)])
    def fails() -> None:
        raise LookupError("nothing")

    async with running(app):
        with pytest.raises(TaskFailedError, match="LookupError: nothing"):
            await fails.add_task().result(timeout=5)

    assert [one for one in notes if "failed" in one or "after" in one] == [
        "b.failed LookupError",
        "a.failed LookupError",
    ]


async def test_a_task_without_middlewares_has_no_layers(app: QueueTasks, running: Running) -> None:
    """A plain task, and one whose middlewares are for adding and results only, is called as ever."""
    found: list[Any] = []

    class Counting(TaskMiddleware):
        def add(self, draft: Draft) -> None:
            found.append(draft.task_name)

    def spy(execution: Any) -> None:
        found.append(execution.layers)

    app.add_middleware(Counting)
    app.core.triggers.register(SimpleNamespace(worker_execute_before=hookimpl(spy)))
    plain = app.task(job)
    async with running(app):
        await plain.add_task(1).result(timeout=5)

    assert ["job", None] == found


# ---------------------------------------------------------------- what a step may do


async def test_arguments_can_be_changed_before(app: QueueTasks, running: Running) -> None:
    """By a middleware and by a function, in the execution."""

    def double(execution: Execution) -> None:
        execution.args = (2 * execution.args[0],)

    twice = app.task(middlewares_before=[double, double])(job)
    async with running(app):
        assert 12 == await twice.add_task(3).result(timeout=5)


@pytest.mark.parametrize(("answer", "result"), [(None, 7), (8, 8), (Replace(None), None), (Replace(9), 9)])
async def test_none_leaves_a_result(app: QueueTasks, running: Running, answer: Any, result: Any) -> None:
    """As with triggers: None leaves it, `Replace` sets any value; for `after` and for functions."""

    class After(TaskMiddleware):
        def after(self, execution: Execution, result: Any) -> Any:
            return answer

    one = app.task(name="one", middlewares=[After])(job)
    other = app.task(name="other", middlewares_after=[lambda execution, result: answer])(job)
    async with running(app):
        assert [result, result] == [await task.add_task(7).result(timeout=5) for task in (one, other)]


async def test_what_goes_around_decides_on_the_result(app: QueueTasks, running: Running) -> None:
    """It may answer without the function, hide an error, or be a plain `def` that passes on what it calls."""

    class Cached(TaskMiddleware):
        async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
            return "cached"

    class Forgiving(TaskMiddleware):
        async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
            try:
                return await call()
            except LookupError:
                return None

    class Passing(TaskMiddleware):
        def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
            return call()

    def fails() -> Any:
        raise LookupError

    tasks = [
        app.task(name=kind.__name__, middlewares=[kind])(function)
        for kind, function in ((Cached, fails), (Forgiving, fails), (Passing, job))
    ]
    async with running(app):
        assert ["cached", None, 0] == [await task.add_task().result(timeout=5) for task in tasks]


async def test_a_changed_result_has_to_fit_the_annotation(app: QueueTasks, running: Running) -> None:
    """Whoever waits is promised its type: what does not fit is an error there, one that fits is converted."""

    @app.task(middlewares_after=[lambda execution, result: [result]])
    async def wrapped() -> int:
        return 1

    @app.task(middlewares_after=[lambda execution, result: (*result, 2)])
    async def longer() -> tuple[int, ...]:
        return (1,)

    async with running(app):
        with pytest.raises(CodecError, match=r"the result of task wrapped .*: Expected `int`, got `array`"):
            await wrapped.add_task().result(timeout=5)
        assert (1, 2) == await longer.add_task().result(timeout=5)


async def test_state_belongs_to_one_run(app: QueueTasks, running: Running) -> None:
    """What a middleware puts into the execution's state is there after the function, of this run only."""

    class Timing(TaskMiddleware):
        def before(self, execution: Execution) -> None:
            assert {} == execution.state
            execution.state["began"] = execution.args[0]

        def after(self, execution: Execution, result: Any) -> Any:
            return [execution.state["began"], result, execution.task_name, execution.attempt]

    timed = app.task(middlewares=[Timing()])(job)
    async with running(app):
        tasks = await timed.add_many([(1,), (2,), (3,)])
        assert [[n, n, "job", 1] for n in (1, 2, 3)] == [await task.result(timeout=5) for task in tasks]


async def test_all_kinds_of_tasks_have_them(app: QueueTasks, running: Running) -> None:
    """Of a generator they see the whole: its list of values, or what it returned."""

    class Counting(TaskMiddleware):
        def after(self, execution: Execution, result: Any) -> Any:
            return [execution.kind, result]

    app.add_middleware(Counting())

    @app.task
    def thread() -> Any:
        return 1

    @app.task
    async def loop() -> Any:
        return 2

    @app.task
    def generator() -> Any:
        yield 3
        yield 4

    @app.task
    async def async_generator() -> Any:
        yield 5

    tasks: list[Any] = [thread, loop, generator, async_generator]
    async with running(app):
        results = [await task.add_task().result(timeout=5) for task in tasks]

    assert [["thread", 1], ["async", 2], ["generator", [3, 4]], ["async generator", [5]]] == results


async def test_a_plugins_answer_passes_through_them(app: QueueTasks, running: Running) -> None:
    """A task that asks the plugins for its result has ended well for its middlewares, with and without triggers."""

    class Marking(TaskMiddleware):
        def after(self, execution: Execution, result: Any) -> Any:
            return f"<{result}>"

    def answers(error: TaskPluginTriggerError) -> str:
        return str(error.kwargs["word"])

    @app.task(middlewares=[Marking])
    async def ask() -> str:
        raise TaskPluginTriggerError(word="plugin")

    app.core.triggers.register(SimpleNamespace(task_executor_run_task_trigger_error=hookimpl(answers)))
    async with running(app):
        assert "<plugin>" == await ask.add_task().result(timeout=5)
    app.core.triggers.register(SimpleNamespace(task_executor_before_execute=hookimpl(lambda: None)))
    async with running(app):
        assert "<plugin>" == await ask.add_task().result(timeout=5)


async def test_the_trigger_is_told_who_goes_around_the_run(app: QueueTasks, running: Running) -> None:
    """`task_executor_middlewares_execute` names middlewares and functions, outermost first; not without any."""
    seen: list[Any] = []
    a, b = Noting("a", []), Noting("b", [])
    app.add_middleware(a)

    def hears(execution: Execution, middlewares: Any) -> None:
        seen.append((execution.task_name, middlewares))

    app.core.triggers.register(SimpleNamespace(task_executor_middlewares_execute=hookimpl(hears)))

    def before(execution: Execution) -> None: ...

    def after(execution: Execution, result: Any) -> None: ...

    task = app.task(middlewares=[b], middlewares_before=[before], middlewares_after=[after])(job)
    async with running(app):
        await task.add_task().wait(timeout=5)

    assert [("job", (a, b, before, after))] == seen
