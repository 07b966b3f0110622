"""The triggers of the task executor, in the order in which one run meets them."""

import inspect

import pytest

from qtasks.asyncio import QueueTasks
from qtasks.exceptions import TaskFailedError, TaskPluginTriggerError
from qtasks.plugins import Replace
from triggers.noting import PATIENCE_S, noting

ORDER = [
    "task_executor_args_replace",
    "task_executor_before_execute",
    "task_executor_middlewares_execute",
    "task_executor_run_task",
    "task_executor_after_execute",
    "task_executor_after_execute_result_replace",
    "task_executor_task_close",
    "task_executor_decode",
]


@pytest.mark.fires("task_executor_args_replace")
async def test_arguments_may_be_replaced(app: QueueTasks) -> None:
    """They are converted already, and the function's signature is there to look at."""
    notes = noting(app, task_executor_args_replace=lambda args, kwargs: ([args[0] + 1], {**kwargs, "add": 5}))

    @app.task
    async def job(number: int, add: int = 0) -> int:
        return number + add

    async with app.worker():
        assert 13 == await job.add_task(7).result(timeout=PATIENCE_S)

    given = notes.one("task_executor_args_replace")
    assert ((7,), {}) == (given["args"], given["kwargs"])
    assert inspect.signature(job.definition.function).parameters.keys() == given["args_info"].parameters.keys()
    assert given["execution"].task_name == "job"


@pytest.mark.fires(
    "task_executor_before_execute",
    "task_executor_middlewares_execute",
    "task_executor_after_execute",
    "task_executor_task_close",
)
async def test_the_steps_of_a_run_are_told_in_their_order(app: QueueTasks) -> None:
    """All are given the same executor and the same execution; the run ended without an error."""
    notes = noting(app, *ORDER)

    async def nothing(execution: object) -> None: ...

    @app.task(middlewares_before=[nothing])
    async def job() -> int:
        return 7

    async with app.worker():
        assert 7 == await job.add_task().result(timeout=PATIENCE_S)

    assert ORDER == notes.order
    first = notes.one(ORDER[0])
    same = [(first["task_executor"], first["execution"])] * len(ORDER)
    assert same == [(given["task_executor"], given["execution"]) for _, given in notes.calls]
    assert [nothing] == list(notes.one("task_executor_middlewares_execute")["middlewares"])
    assert None is notes.one("task_executor_task_close")["error"]
    for name in ORDER:
        assert 1 == len(notes.of(name))


async def test_a_run_that_fails_is_closed_with_its_error(app: QueueTasks) -> None:
    """What comes after an end without an error is left out."""
    notes = noting(app, *ORDER)

    @app.task
    async def job() -> None:
        raise ValueError("no")

    async with app.worker():
        with pytest.raises(TaskFailedError, match="no"):
            await job.add_task().result(timeout=PATIENCE_S)

    assert ["task_executor_args_replace", "task_executor_before_execute", "task_executor_task_close"] == notes.order
    assert "no" == str(notes.one("task_executor_task_close")["error"])


@pytest.mark.fires("task_executor_run_task", "task_executor_after_execute_result_replace", "task_executor_decode")
async def test_a_result_may_be_replaced_three_times(app: QueueTasks) -> None:
    """When the function returned, when the run ended, and when it is about to be serialised."""
    notes = noting(
        app,
        task_executor_run_task=lambda result: f"{result}1",
        task_executor_after_execute_result_replace=lambda result: f"{result}2",
        task_executor_decode=lambda result: f"{result}3",
    )

    @app.task
    async def job() -> str:
        return "0"

    async with app.worker():
        assert "0123" == await job.add_task().result(timeout=PATIENCE_S)

    assert ["0", "01", "012"] == [given["result"] for _, given in notes.calls]


async def test_a_result_may_be_made_none(app: QueueTasks) -> None:
    """By `Replace(None)`: None alone leaves it."""
    noting(app, task_executor_run_task=lambda: Replace(None))

    @app.task
    async def job() -> int | None:
        return 7

    async with app.worker():
        assert None is await job.add_task().result(timeout=PATIENCE_S)


@pytest.mark.fires("task_executor_run_task_gen")
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_what_a_generator_has_yielded_may_be_replaced(app: QueueTasks, kind: str) -> None:
    """When it has ended; before the trigger that gets its result as any other."""
    notes = noting(app, "task_executor_run_task", task_executor_run_task_gen=lambda results: [*results, 3])

    async def later(count: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        for number in range(count):
            yield number

    def now(count: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        yield from range(count)

    app.task(name="job")({"async": later, "thread": now}[kind])
    async with app.worker():
        task = await app.add_task("job", 3)
        assert [0, 1, 2, 3] == await task.result(timeout=PATIENCE_S)

    assert ["task_executor_run_task_gen", "task_executor_run_task"] == notes.order
    given = notes.one("task_executor_run_task_gen")
    assert ([0, 1, 2], task.uuid) == (given["results"], given["execution"].uuid)


async def test_a_generator_that_returns_a_value_keeps_it(app: QueueTasks) -> None:
    """The trigger is called with what it yielded; the task's result is the generator's own."""
    notes = noting(app, task_executor_run_task_gen=lambda results: results[:0])

    @app.task
    def job():  # type: ignore[no-untyped-def]  # noqa: ANN202
        yield 1
        return "own"

    async with app.worker():
        assert "own" == await job.add_task().result(timeout=PATIENCE_S)
    assert [1] == notes.one("task_executor_run_task_gen")["results"]


@pytest.mark.fires("task_executor_run_task_trigger_error")
async def test_a_task_may_ask_plugins_for_its_result(app: QueueTasks) -> None:
    """The first answer is the result; where no plugin has one the error is the task's."""
    answers = iter(["from the plugin", None])
    notes = noting(app, task_executor_run_task_trigger_error=lambda: next(answers))

    @app.task
    async def job() -> str:
        raise TaskPluginTriggerError(wanted="a result")

    async with app.worker():
        assert "from the plugin" == await job.add_task().result(timeout=PATIENCE_S)
        with pytest.raises(TaskFailedError, match="TaskPluginTriggerError"):
            await job.add_task().result(timeout=PATIENCE_S)

    first = notes.of("task_executor_run_task_trigger_error")[0]
    assert ({"wanted": "a result"}, "job") == (first["error"].kwargs, first["execution"].task_name)
