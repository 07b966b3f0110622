"""A plugin that is slow, raises or returns nonsense on a hot trigger harms its own task only, or nothing."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from qtasks.asyncio import QueueTasks
from qtasks.exceptions import PluginError, TaskFailedError
from qtasks.plugins import Replace
from qtasks_core.naming import new_uuid
from qtasks_testing.polling import eventually
from triggers.noting import PATIENCE_S
from triggers.page import triggers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from qtasks_core.task import Task

ITS_OWN = new_uuid()
NEIGHBOURS = 4
HOT = [one.name for one in triggers() if one.is_hot]
NOTIFYING = [one.name for one in triggers() if one.is_hot and one.kind == "Notifies"]
REPLACING = [one.name for one in triggers() if one.is_hot and one.kind != "Notifies"]
OF_CALLS = [name for name in HOT if name.startswith("qtasks_") or name in {"broker_add_before", "broker_add_after"}]
OF_CALLS.append("storage_add")
OF_RESULTS = ["task_executor_run_task", "task_executor_after_execute_result_replace", "task_executor_decode"]
MARK = "storage_add_process"  # the task runs already: nothing fails it


def uuid_of(given: dict[str, Any]) -> Any:
    """Return which task a trigger is called for."""
    if "execution" in given:
        return given["execution"].uuid
    if "outcome" in given:
        return given["outcome"].delivery.envelope.uuid
    if "delivery" in given:
        return given["delivery"].envelope.uuid
    return given["message" if "message" in given else "record"].uuid


class Faulty:
    """Answers one trigger, for one task only, as a test wants.

    Parameters:
        trigger: The trigger.
        answer: Gets the arguments.
    """

    name = "faulty"

    def __init__(self, trigger: str, answer: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
        self.called = asyncio.Event()

        async def called(**given: Any) -> Any:
            if uuid_of(given) != ITS_OWN:
                return None
            self.called.set()
            return await answer(given)

        setattr(self, trigger, called)


class Bench:
    """An app whose tasks meet every hot trigger, and a task that a plugin is after.

    Parameters:
        app: The app.
        trigger: The one that is looked at.
    """

    def __init__(self, app: QueueTasks, trigger: str) -> None:
        self.app, self.trigger = app, trigger
        self.go = asyncio.Event()

        async def nothing(execution: object) -> None: ...

        @app.task(middlewares_before=[nothing], retry=1, retry_backoff=0.0, retry_jitter=False)
        async def job(is_plain: bool) -> Any:
            attempt = app_attempt()
            if not is_plain and trigger == "broker_update" and attempt == 1:
                raise ValueError("once more")
            if not is_plain and trigger == MARK:
                await self.go.wait()
            return [7]

        @app.task
        async def values(is_plain: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield 7

        def app_attempt() -> int:
            from qtasks.asyncio import current_context

            return current_context().attempt

        self.job = values if trigger == "task_executor_run_task_gen" else job

    def add(self, uuid: UUID | None = None) -> Awaitable[Task[Any]]:
        """Add the task that the plugin is after, or a neighbour."""
        return self.job.with_options(uuid=uuid).add_task(uuid is None)

    async def neighbours(self) -> list[Any]:
        """Return what other tasks return, added now."""
        tasks = [await self.add() for _ in range(NEIGHBOURS)]
        return [await task.result(timeout=PATIENCE_S) for task in tasks]

    async def call(self, task: Awaitable[Task[Any]]) -> Any:
        """Return a task's result, when it is added."""
        return await (await task).result(timeout=PATIENCE_S)


FINE = [[7]] * NEIGHBOURS


@pytest.mark.parametrize("trigger", HOT)
async def test_a_slow_plugin_holds_up_its_own_task_only(app: QueueTasks, trigger: str) -> None:
    """Those that come later are added, run and have their results while the plugin has not answered."""
    bench = Bench(app, trigger)

    async def wait(given: dict[str, Any]) -> None:
        await bench.go.wait()

    faulty = Faulty(trigger, wait)
    app.add_plugin(faulty)
    async with app.worker(concurrency=3):
        own = asyncio.create_task(bench.call(bench.add(ITS_OWN)))
        async with asyncio.timeout(PATIENCE_S):
            await faulty.called.wait()
        assert FINE == await bench.neighbours()
        bench.go.set()
        assert [7] == await own


class BrokenError(Exception):
    """What the plugin raises."""


async def _raise(given: dict[str, Any]) -> None:
    await asyncio.sleep(0)
    raise BrokenError("out of order")


@pytest.mark.parametrize("trigger", NOTIFYING)
async def test_a_plugin_that_listens_and_raises_harms_nothing(
    app: QueueTasks, trigger: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own task succeeds too; the log names plugin and trigger, and the failure is counted."""
    bench = Bench(app, trigger)
    faulty = Faulty(trigger, _raise)
    app.add_plugin(faulty)
    async with app.worker():
        assert [7] == await bench.call(bench.add(ITS_OWN))
        assert FINE == await bench.neighbours()
        async with asyncio.timeout(PATIENCE_S):
            await faulty.called.wait()

    assert {("faulty", trigger): 1} == app.core.triggers.failures
    (record,) = [one for one in caplog.records if one.name == "qtasks.triggers"]
    assert f"plugin faulty: trigger {trigger} raised BrokenError('out of order')" == record.getMessage()
    assert logging.ERROR == record.levelno


@pytest.mark.parametrize("trigger", [name for name in REPLACING if name != MARK])
async def test_a_plugin_that_replaces_and_raises_fails_its_own_task_only(app: QueueTasks, trigger: str) -> None:
    """The task's error, or the call's, names plugin and trigger; its neighbours and the worker do not notice."""
    bench = Bench(app, trigger)
    app.add_plugin(Faulty(trigger, _raise))
    async with app.worker():
        error = await _failure(bench, BrokenError)
        assert FINE == await bench.neighbours()

    assert "out of order" in error
    assert f"raised by plugin faulty: trigger {trigger}" in error


async def _failure(bench: Bench, of_call: type[Exception]) -> str:
    """Return the words of what becomes of the task that the plugin is after."""
    if bench.trigger in OF_CALLS:
        with pytest.raises(of_call) as refused:
            await bench.add(ITS_OWN)
        return "\n".join([str(refused.value), *getattr(refused.value, "__notes__", ())])
    task = await bench.add(ITS_OWN)
    with pytest.raises(TaskFailedError) as failed:
        await task.result(timeout=PATIENCE_S)
    return str(failed.value) + failed.value.traceback


def _nonsense(trigger: str) -> list[tuple[str, Any, str]]:
    """Return what a plugin may return that does not fit: of another kind, of another task, with a field that is off."""
    (one,) = [one for one in triggers() if one.name == trigger]
    key = one.kind.removeprefix("Replaces ")
    wrong: list[tuple[str, Any, str]] = [
        ("kind", lambda given: object(), "got object"),
        ("none", lambda given: Replace(None), "got NoneType"),
    ]
    if key == "execution":
        wrong.append(("identity", lambda given: _Other(), "changed the delivery"))
    if key in {"message", "record"}:
        wrong.append(("identity", _with(key, uuid=new_uuid()), "changed the uuid"))
        wrong.append(("field", _with(key, priority="high"), "priority: expected `int`, got `str`"))
    if key == "delivery":
        wrong.append(("identity", _with(key, token="mine"), "changed the token"))
        wrong.append(("field", _with(key, crashes=None), "crashes: expected `int`, got `null`"))
    if key == "(args, kwargs)":
        wrong += [
            ("no pair", lambda given: [1, 2, 3], "3 items"),
            ("args", lambda given: ("text", {}), "args: expected a tuple or a list, got str"),
            ("kwargs", lambda given: ((), {1: 2}), "kwargs: expected a mapping with texts as keys"),
        ]
    if key == "results":
        wrong.append(("a tuple", lambda given: (1, 2), "expected a list of results, got tuple"))
    return [(name, answer, words) for name, answer, words in wrong if trigger not in OF_RESULTS]


class _Other:
    delivery = None


def _with(key: str, **fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda given: msgspec.structs.replace(given[key], **fields)


CASES = [(name, *case) for name in REPLACING if name != MARK for case in _nonsense(name)]


@pytest.mark.parametrize(("trigger", "what", "answer", "words"), CASES, ids=[f"{one[0]}-{one[1]}" for one in CASES])
async def test_nonsense_fails_its_own_task_only(
    app: QueueTasks, trigger: str, what: str, answer: Callable[[dict[str, Any]], Any], words: str
) -> None:
    """It is refused at once, by an error that names plugin, trigger and what does not fit; nobody else notices."""
    bench = Bench(app, trigger)

    async def say(given: dict[str, Any]) -> Any:
        return answer(given)

    app.add_plugin(Faulty(trigger, say))
    async with app.worker():
        error = await _failure(bench, PluginError)
        assert FINE == await bench.neighbours()

    assert f"plugin faulty: trigger {trigger}" in error
    assert words in error


@pytest.mark.parametrize("trigger", OF_RESULTS)
async def test_a_result_that_cannot_travel_fails_its_own_task_only(app: QueueTasks, trigger: str) -> None:
    """Whatever a plugin makes of a result has to be serialised, as what the task itself returns."""
    bench = Bench(app, trigger)

    async def say(given: dict[str, Any]) -> Any:
        return object()

    app.add_plugin(Faulty(trigger, say))
    async with app.worker():
        assert "object" in await _failure(bench, PluginError)
        assert FINE == await bench.neighbours()


@pytest.mark.parametrize("answer", ["raises", "nonsense"])
async def test_a_mark_is_written_without_a_plugin_that_fails(
    app: QueueTasks, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The task runs already, so nothing fails it; the log names plugin and trigger."""
    bench = Bench(app, MARK)

    async def say(given: dict[str, Any]) -> Any:
        bench.go.set()
        return await _raise(given) if answer == "raises" else object()

    app.add_plugin(Faulty(MARK, say))
    async with app.worker():
        assert [7] == await bench.call(bench.add(ITS_OWN))
        assert FINE == await bench.neighbours()

    (record,) = [one for one in caplog.records if "status process" in one.message]
    assert f"plugin faulty: trigger {MARK}" in str(logging.Formatter().formatException(record.exc_info))  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", ["raises", "nonsense"])
async def test_a_plugin_that_is_asked_for_a_retry_and_fails_ends_its_own_task_only(
    app: QueueTasks, answer: str
) -> None:
    """Not hot, and yet of one task: its slot is free again."""

    async def say(**given: Any) -> Any:
        return await _raise(given) if answer == "raises" else object()

    @app.task(retry=5)
    async def job(fails: bool) -> int:
        if fails:
            raise ValueError("once more")
        return 7

    plugin = Faulty("worker_outcome", _raise)
    plugin.worker_task_error_retry = say  # type: ignore[attr-defined]
    app.add_plugin(plugin, trigger_names=["worker_task_error_retry"])
    async with app.worker(concurrency=1):
        with pytest.raises(TaskFailedError) as failed:
            await job.add_task(fails=True).result(timeout=PATIENCE_S)
        assert 7 == await job.add_task(fails=False).result(timeout=PATIENCE_S)

    assert "plugin faulty: trigger worker_task_error_retry" in str(failed.value) + failed.value.traceback


@pytest.mark.parametrize("trigger", [name for name in OF_CALLS if name != "storage_add"])
async def test_a_slow_plugin_holds_up_one_of_many_that_are_added_together(app: QueueTasks, trigger: str) -> None:
    """The others are sent, and run, while the plugin has not answered; then the call returns all in their order."""
    go, called = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    async def wait(message: Any) -> None:
        if message.args == (0,):
            called.set()
            await go.wait()

    @app.task
    async def note(number: int) -> int:
        ran.append(number)
        return number

    app.add_plugin(SimpleNamespace(**{trigger: wait}))
    async with app.worker():
        adding = asyncio.create_task(note.add_many([(number,) for number in range(3)]))
        async with asyncio.timeout(PATIENCE_S):
            await called.wait()
        await eventually(lambda: {1, 2} <= set(ran), timeout_s=PATIENCE_S)
        assert not adding.done()
        go.set()
        assert [0, 1, 2] == [await task.result(timeout=PATIENCE_S) for task in await adding]
