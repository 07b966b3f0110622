"""`app.add_plugin`: which triggers an object answers, when it starts and stops, what does not fit."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.errors import ConfigError, TaskPluginTriggerError
from qtasks_core.plugins import BasePlugin, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app() -> Iterator[QueueTasks]:
    """Return an app in memory."""
    yield (app := QueueTasks("plugged", "memory://"))
    app.core.close_portal()


class Doubler:
    """Answers one trigger by its name."""

    def task_executor_args_replace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (tuple(one * 2 for one in args), kwargs)


class Told(BasePlugin):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def start(self) -> None:
        self.names.append("start")

    async def stop(self) -> None:
        self.names.append("stop")

    def trigger(self, name: str, /, **kwargs: Any) -> None:
        self.names.append(name)


async def _result(app: QueueTasks, number: int) -> Any:
    @app.task
    async def same(number: int) -> int:
        return number

    async with asyncio.timeout(50), app.worker():
        return await (await same.add_task(number)).result()


async def test_an_unmarked_method_answers_its_trigger(app: QueueTasks) -> None:
    """The name is enough; arguments of running tasks are changed."""
    app.add_plugin(Doubler(), trigger_names=["task_executor_args_replace"], component="worker")

    assert 42 == await _result(app, 21)


async def test_of_several_the_last_comes_first_and_marks_count(app: QueueTasks) -> None:
    """In pluggy's order: the one that was added last, but for tryfirst and trylast."""

    class Adder:
        @hookimpl(trylast=True)
        def task_executor_args_replace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return (tuple(one + 1 for one in args), kwargs)

    app.add_plugin(Adder())
    app.add_plugin(Doubler())

    assert 11 == await _result(app, 5)


async def test_one_method_answers_all_triggers_of_a_component(app: QueueTasks) -> None:
    """A BasePlugin that overrides `trigger`; it is started and stopped with the component."""
    told = Told()
    app.add_plugin(told, component="worker")

    await _result(app, 1)

    assert ["start", "worker_start"] == sorted(told.names[:2])
    assert ["stop", "worker_stop"] == sorted(told.names[-2:])
    assert {"worker_add", "worker_outcome", "task_executor_before_execute"} <= set(told.names)
    assert not [name for name in told.names if name.startswith(("qtasks_", "broker_", "storage_"))]


async def test_without_a_component_it_answers_those_of_the_app(app: QueueTasks) -> None:
    """All that begin with `qtasks_`."""
    told = Told()
    app.add_plugin(told)

    await _result(app, 1)

    assert {"qtasks_add_task_before_broker", "qtasks_add_task_after_broker", "qtasks_register_task"} <= set(told.names)
    assert set() == {name for name in told.names if not name.startswith("qtasks_")} - {"start", "stop"}


async def test_named_triggers_are_the_only_ones(app: QueueTasks) -> None:
    """Of one that answers more, and of one that answers all."""

    class Two(Doubler):
        def task_executor_run_task(self, result: Any) -> Any:
            return -result

    told = Told()
    app.add_plugin(Two(), ["task_executor_run_task"])
    app.add_plugin(told, ["worker_outcome"])

    assert -3 == await _result(app, 3)
    assert {"worker_outcome", "start", "stop"} == set(told.names)


async def test_a_task_asks_plugins_for_its_result(app: QueueTasks) -> None:
    """`TaskPluginTriggerError` reaches its trigger with what the task gave, and the answer is the result."""

    class Answers:
        async def task_executor_run_task_trigger_error(self, error: TaskPluginTriggerError) -> Any:
            return {"asked": error.kwargs["question"]}

    app.add_plugin(Answers())

    @app.task
    async def ask() -> object:
        raise TaskPluginTriggerError(question="why")

    async with asyncio.timeout(50), app.worker():
        assert {"asked": "why"} == await (await ask.add_task()).result()


class Misspelt:
    def worker_strat(self) -> None: ...


class Wants:
    def worker_start(self, wroker: Any) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "options", "message"),
    [
        (Doubler, {}, "expected an object, got the class Doubler; write Doubler()"),
        (len, {}, "expected an object with methods named after triggers"),
        (Misspelt(), {}, "expected a method named after a trigger, found none; did you mean 'worker_start'?"),
        (Doubler(), {"component": "wroker"}, "component: expected one of qtasks, .*'wroker'; did you mean 'worker'?"),
        (Doubler(), {"component": "broker"}, "a method named after a trigger that begins with broker_, found none"),
        (Doubler(), {"trigger_names": ["worker_strat"]}, "no trigger 'worker_strat'; did you mean 'worker_start'?"),
        (Doubler(), {"trigger_names": ["worker_stop"]}, "worker_stop is not answered: expected a method worker_stop"),
        (Doubler(), {"trigger_names": "worker_stop"}, "trigger_names: expected a list of texts, got 'worker_stop'"),
        (Doubler(), {"trigger_names": []}, "trigger_names: expected at least one trigger, got none"),
        (Wants(), {}, "plugin Wants: worker_start gives worker by name, not 'wroker'; did you mean 'worker'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_told(app: QueueTasks, plugin: Any, options: dict[str, Any], message: str) -> None:
    """With the plugin's name, what was expected, and the nearest name."""
    with pytest.raises(ConfigError) as caught:
        app.add_plugin(plugin, **options)

    assert caught.match(message.replace("()", r"\(\)").replace("?", r"\?"))


def test_the_same_object_answers_a_trigger_once(app: QueueTasks) -> None:
    """Adding it twice is a mistake, unless it is for other triggers; another object of its class is another plugin."""
    told = Told()
    app.add_plugin(told, ["worker_stop"])
    app.add_plugin(Told(), ["worker_stop"])

    with pytest.raises(ConfigError, match=r"plugin Told: it answers .* already: the same object was added before"):
        app.add_plugin(told, ["worker_stop", "worker_start"])


async def test_the_same_object_may_answer_others_later(app: QueueTasks) -> None:
    """It is started and stopped once all the same."""
    told = Told()
    app.add_plugin(told, ["worker_start"], component="worker")
    app.add_plugin(told, ["worker_stop"], component="worker")

    async with app.worker():
        pass

    assert ["start", "stop", "worker_start", "worker_stop"] == sorted(told.names)


async def test_what_can_be_called_is_a_method_too(app: QueueTasks) -> None:
    """A partial, or an object with __call__, in the place of a method."""
    app.add_plugin(SimpleNamespace(task_executor_run_task=partial(lambda result, times: result * times, times=3)))

    assert 12 == await _result(app, 4)


async def test_a_plugin_for_each_task_comes_before_the_work(app: QueueTasks) -> None:
    """Its triggers are frozen while a worker is at work."""
    async with app.worker():
        with pytest.raises(ConfigError, match="task_executor_args_replace runs for each task and is frozen"):
            app.add_plugin(Doubler())


async def test_a_plugin_that_cannot_start_stops_the_start(app: QueueTasks) -> None:
    """The worker does not run without it."""

    class Broken(BasePlugin):
        def start(self) -> None:
            raise RuntimeError("no licence")

        def worker_stop(self) -> None: ...

    app.add_plugin(Broken(), component="worker")

    with pytest.raises(RuntimeError, match="no licence"):
        async with app.worker():
            pytest.fail("it runs")
