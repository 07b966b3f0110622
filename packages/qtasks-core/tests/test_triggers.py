"""In which order plugins are called, with which arguments, and what becomes of their answers and errors."""

from __future__ import annotations

import asyncio
import functools
import logging
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core import triggers as module
from qtasks_core.triggers import Replace, Triggers

if TYPE_CHECKING:
    from collections.abc import Callable

hookimpl = pluggy.HookimplMarker("qtasks")


@pytest.fixture
def triggers() -> Triggers:
    """Return the triggers of an app without plugins."""
    return Triggers()


def _plugin(**implementations: Callable[..., Any]) -> SimpleNamespace:
    """Return a plugin with these functions, each marked unless it is already."""
    return SimpleNamespace(
        **{
            name: function if hasattr(function, "qtasks_impl") else hookimpl(function)
            for name, function in implementations.items()
        }
    )


def _adds(text: str) -> Callable[..., str]:
    """Return an implementation that appends to the result."""

    def add(result: str) -> str:
        return result + text

    return add


def _keep(values: list[Any]) -> Callable[..., str | None]:
    """Return an implementation that keeps the worker or the result that it is given."""

    def keep(worker: str | None = None, result: Any = None) -> str | None:
        values.append(result if worker is None else worker)
        return "ignored" if worker else None

    return keep


async def _run_task(triggers: Triggers, result: Any, **values: Any) -> Any:
    chain = triggers.of("task_executor_run_task")
    return await triggers.replace(chain, "result", task_executor="E", execution="X", result=result, **values)


async def _worker_stop(triggers: Triggers) -> None:
    await triggers.notify(triggers.of("worker_stop"), worker="W")


# ---------------------------------------------------------------- order and arguments


async def test_the_last_registered_goes_first(triggers: Triggers) -> None:
    """Plugins are asked in reverse order of registration; each is given what the one before made."""
    for text in "abc":
        triggers.register(_plugin(task_executor_run_task=_adds(text)))

    assert ">cba" == await _run_task(triggers, ">")


async def test_tryfirst_goes_first_and_trylast_last(triggers: Triggers) -> None:
    """The marks go before the order of registration; of two that ask for an end, the last registered has it."""
    first, plain, last = hookimpl(tryfirst=True), hookimpl(), hookimpl(trylast=True)
    for text, mark in [("f", first), ("g", first), ("l", last), ("m", last), ("a", plain), ("b", plain)]:
        triggers.register(_plugin(task_executor_run_task=mark(_adds(text))))

    assert ">gfbalm" == await _run_task(triggers, ">")


async def test_a_plugin_that_comes_later_is_called_too(triggers: Triggers) -> None:
    """What was looked up before is looked up anew after a registration."""
    triggers.register(_plugin(task_executor_run_task=_adds("a")))
    assert ">a" == await _run_task(triggers, ">")
    triggers.register(_plugin(task_executor_run_task=_adds("b")))
    assert ">ba" == await _run_task(triggers, ">")


def test_without_plugins_each_chain_is_empty(triggers: Triggers) -> None:
    """A call site pays one truth test; so it does for a trigger that no plugin answers."""
    assert () == triggers.of("worker_stop")
    triggers.register(_plugin(worker_start=lambda: None))
    assert () == triggers.of("worker_stop")
    assert 1 == len(triggers.of("worker_start"))


def _all(task_executor: Any, execution: Any, result: Any) -> Any:
    return [task_executor, execution, result]


def _none() -> Any:
    return []


def _by_name_only(*, result: Any) -> Any:
    return [result]


def _with_defaults(result: Any = None, task_executor: Any = None, other: Any = 7) -> Any:
    return [result, task_executor, other]


def _rest(**values: Any) -> Any:
    return sorted(values.items())


def _one_and_rest(result: Any, **values: Any) -> Any:
    return [result, *sorted(values)]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_all, ["E", "X", 1]),
        (_none, []),
        (_by_name_only, [1]),
        (_with_defaults, [1, "E", 7]),
        (_rest, [("execution", "X"), ("result", 1), ("task_executor", "E")]),
        (_one_and_rest, [1, "execution", "task_executor"]),
    ],
)
async def test_an_implementation_takes_what_it_needs(
    triggers: Triggers, function: Callable[..., Any], expected: Any
) -> None:
    """Arguments are given by name, those that the trigger declares: what the call site knows besides is not seen."""
    triggers.register(_plugin(task_executor_run_task=function))

    assert expected == await _run_task(triggers, 1, worker="unseen")


async def test_an_implementation_may_have_any_name(triggers: Triggers) -> None:
    """`specname` says which trigger it answers."""
    triggers.register(_plugin(shout=hookimpl(specname="task_executor_run_task")(_adds("!"))))

    assert "a!" == await _run_task(triggers, "a")


async def test_methods_and_modules_are_plugins(triggers: Triggers) -> None:
    """A bound method knows its object; what is not marked is no implementation."""

    class Shout:
        mark = "!"

        @hookimpl
        def task_executor_run_task(self, result: str) -> str:
            return result + self.mark

        def worker_nonsense(self) -> None: ...

    library = ModuleType("library")
    library.task_executor_run_task = hookimpl(_adds("?"))  # type: ignore[attr-defined]
    triggers.register(library)
    triggers.register(Shout())

    assert "a!?" == await _run_task(triggers, "a")
    assert ["Shout", "library"] == [impl.plugin.rpartition(".")[2] for impl in triggers.of("task_executor_run_task")]


# ---------------------------------------------------------------- answers


async def test_functions_and_coroutine_functions_may_be_mixed(triggers: Triggers) -> None:
    """One chain awaits those that are async, also where a decorator hides it, and calls the others."""

    async def slow(result: str) -> str:
        await asyncio.sleep(0)
        return result + "s"

    @functools.wraps(slow)
    def hidden(*args: Any, **kwargs: Any) -> Any:
        return slow(*args, **kwargs)

    for function in (_adds("a"), slow, hidden, _adds("b")):
        triggers.register(_plugin(task_executor_run_task=function))

    assert ">bssa" == await _run_task(triggers, ">")


async def test_none_leaves_a_value(triggers: Triggers) -> None:
    """The next plugin is given what was there, and without plugins it is returned as it is."""
    assert "a" == await _run_task(triggers, "a")
    triggers.register(_plugin(task_executor_run_task=_adds("b")))
    triggers.register(_plugin(task_executor_run_task=lambda: None))

    assert "ab" == await _run_task(triggers, "a")


@pytest.mark.parametrize("value", [None, 0, "", [], Replace(1)])
async def test_replace_sets_any_value(triggers: Triggers, value: Any) -> None:
    """The value in `Replace` is what the next plugin and the caller see, also None or one that is false."""
    seen: list[Any] = []
    triggers.register(_plugin(task_executor_run_task=_keep(seen)))
    triggers.register(_plugin(task_executor_run_task=lambda: Replace(value)))

    assert value == await _run_task(triggers, "a")
    assert [value] == seen


@pytest.mark.parametrize("value", [0, "", [], False])
async def test_a_false_value_is_an_answer(triggers: Triggers, value: Any) -> None:
    """Only None leaves the value."""
    triggers.register(_plugin(task_executor_run_task=lambda: value))

    assert value == await _run_task(triggers, "a")


async def test_what_a_notified_plugin_returns_is_ignored(triggers: Triggers) -> None:
    """Each plugin is told, whatever the others return."""
    told: list[str] = []

    async def tell(worker: str) -> object:
        told.append(worker)
        return Replace("other")

    triggers.register(_plugin(worker_stop=tell))
    triggers.register(_plugin(worker_stop=_keep(told)))
    await _worker_stop(triggers)

    assert ["W", "W"] == told


# ---------------------------------------------------------------- errors


class BrokenError(Exception):
    """What the plugins of these tests raise."""


def _breaks(*_: Any, **__: Any) -> Any:
    raise BrokenError("out of order")


async def _breaks_later() -> None:
    await asyncio.sleep(0)
    _breaks()


def _errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "qtasks.triggers"]


@pytest.mark.parametrize("broken", [_breaks, _breaks_later])
async def test_an_observer_that_raises_is_logged_and_counted(
    triggers: Triggers, caplog: pytest.LogCaptureFixture, broken: Callable[..., Any]
) -> None:
    """The log names plugin and trigger and has the traceback; the other plugins are told, and the work goes on."""
    told: list[str] = []
    triggers.register(_plugin(worker_stop=_keep(told)))
    triggers.register(_plugin(worker_stop=broken), "faulty")
    triggers.register(_plugin(worker_stop=_keep(told)))
    await _worker_stop(triggers)

    assert ["W", "W"] == told
    assert {("faulty", "worker_stop"): 1} == triggers.failures
    (record,) = _errors(caplog)
    assert "plugin faulty: trigger worker_stop raised BrokenError('out of order')" == record.getMessage()
    assert logging.ERROR == record.levelno
    assert record.exc_info is not None
    assert record.exc_info[0] is BrokenError


async def test_an_observer_that_always_raises_is_logged_once_a_second(
    triggers: Triggers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure is counted; one a second is logged, for each plugin and each trigger."""
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    triggers.register(_plugin(worker_stop=_breaks, starter_stop=_breaks), "one")
    triggers.register(_plugin(worker_stop=_breaks), "two")

    async def logged() -> list[str]:
        caplog.clear()
        for _ in range(10):
            await _worker_stop(triggers)
            await triggers.notify(triggers.of("starter_stop"), starter="S")
        return sorted(" ".join(record.getMessage().split()[1:4]) for record in _errors(caplog))

    each = ["one: trigger starter_stop", "one: trigger worker_stop", "two: trigger worker_stop"]
    assert each == await logged()
    now += 0.999
    assert [] == await logged()
    now += 0.001
    assert each == await logged()
    assert {("one", "starter_stop"): 30, ("one", "worker_stop"): 30, ("two", "worker_stop"): 30} == triggers.failures


async def test_a_cancelled_observer_cancels_its_caller(triggers: Triggers) -> None:
    """Cancelling is no failure of a plugin: it is not swallowed."""
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    triggers.register(_plugin(worker_stop=hang))
    calling = asyncio.create_task(_worker_stop(triggers))
    await entered.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    assert {} == triggers.failures


@pytest.mark.parametrize("broken", [_breaks, _breaks_later])
async def test_a_replacing_plugin_that_raises_fails_its_call(
    triggers: Triggers, caplog: pytest.LogCaptureFixture, broken: Callable[..., Any]
) -> None:
    """The caller has the error; plugins after it are not asked."""
    asked: list[str] = []
    triggers.register(_plugin(task_executor_run_task=_keep(asked)))
    triggers.register(_plugin(task_executor_run_task=broken))

    with pytest.raises(BrokenError, match="out of order"):
        await _run_task(triggers, "a")
    assert [] == asked
    assert [] == _errors(caplog)


@pytest.mark.parametrize("broken", [_breaks, _breaks_later])
async def test_a_plugin_that_raises_at_the_start_stops_it(triggers: Triggers, broken: Callable[..., Any]) -> None:
    """The starter of the part has the error; plugins after it are not told."""
    told: list[str] = []
    triggers.register(_plugin(worker_start=_keep(told)))
    triggers.register(_plugin(worker_start=broken))
    triggers.register(_plugin(worker_start=_keep(told)))

    with pytest.raises(BrokenError, match="out of order"):
        await triggers.start(triggers.of("worker_start"), worker="W")
    assert ["W"] == told


async def test_apps_do_not_share_plugins() -> None:
    """What is registered with one app is not called by another."""
    one, other = Triggers(), Triggers()
    one.register(_plugin(task_executor_run_task=_adds("!")))

    assert ("a!", "a") == (await _run_task(one, "a"), await _run_task(other, "a"))
