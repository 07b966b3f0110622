"""What a plugin may be, and how one that cannot work is refused: by name, with what would be right, and wholly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core.errors import ConfigError
from qtasks_core.triggers import Triggers

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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("worker_strat", "plugin P: there is no trigger 'worker_strat'; did you mean 'worker_start'?"),
        (
            "qtasks_add_task_before",
            "plugin P: there is no trigger 'qtasks_add_task_before'; did you mean 'qtasks_add_task_before_broker'?",
        ),
        ("zzz", "plugin P: there is no trigger 'zzz'"),
    ],
)
def test_an_unknown_trigger_is_refused(triggers: Triggers, name: str, message: str) -> None:
    """The error names plugin and trigger and suggests the nearest name, if there is one."""
    with pytest.raises(ConfigError) as caught:
        triggers.register(_plugin(**{name: lambda: None}), "P")

    assert message == str(caught.value)


def test_a_trigger_of_a_later_version_may_be_marked_optional(triggers: Triggers) -> None:
    """What `optionalhook` marks is not called while it does not exist; without the mark it is still refused."""
    triggers.register(_plugin(worker_later=hookimpl(optionalhook=True)(lambda: None), worker_stop=lambda: None))

    assert 1 == len(triggers.of("worker_stop"))
    with pytest.raises(ConfigError, match="there is no trigger 'worker_later'"):
        triggers.register(_plugin(worker_later=lambda: None))


def _marked_by_hand(option: str) -> Callable[..., Any]:
    """Return an implementation with an option that the marker may not know."""

    def function() -> Any:
        yield

    function.qtasks_impl = {option: True}  # type: ignore[attr-defined]
    return function


@pytest.mark.parametrize(
    ("option", "function"),
    [
        ("wrapper", hookimpl(wrapper=True)(lambda: (yield))),
        ("hookwrapper", hookimpl(hookwrapper=True)(lambda: (yield))),
        ("historic", _marked_by_hand("historic")),
    ],
)
def test_wrappers_and_historic_are_refused_by_name(
    triggers: Triggers, option: str, function: Callable[..., Any]
) -> None:
    """What pluggy offers beyond plain calls is what middlewares are for; the error says so."""
    with pytest.raises(ConfigError) as caught:
        triggers.register(_plugin(worker_stop=function), "P")

    assert f"plugin P: worker_stop: {option}=True is not supported; use a middleware" == str(caught.value)


def _misspelt(wroker: Any) -> None: ...


def _required_by_name(*, wroker: Any) -> None: ...


def _by_position(worker: Any, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_misspelt, "worker_stop gives worker by name, not 'wroker'; did you mean 'worker'?"),
        (_required_by_name, "worker_stop gives worker by name, not 'wroker'; did you mean 'worker'?"),
        (_by_position, "worker_stop gives worker by name, not 'worker' by position"),
    ],
)
def test_an_argument_that_is_not_given_is_refused(
    triggers: Triggers, function: Callable[..., Any], message: str
) -> None:
    """The error says what the trigger gives, and suggests the nearest name."""
    with pytest.raises(ConfigError) as caught:
        triggers.register(_plugin(worker_stop=function), "P")

    assert f"plugin P: {message}" == str(caught.value)


def _generator() -> Any:
    yield


async def _async_generator() -> Any:
    yield


@pytest.mark.parametrize("function", [_generator, _async_generator])
def test_a_generator_function_is_refused(triggers: Triggers, function: Callable[..., Any]) -> None:
    """Called plainly it would run nothing."""
    with pytest.raises(ConfigError, match="worker_stop: expected a function or a coroutine function, got a generator"):
        triggers.register(_plugin(worker_stop=function))


@pytest.mark.parametrize("trigger", ["qtasks_configure", "qtasks_register_task", "qtasks_register_injector"])
def test_a_coroutine_function_cannot_answer_a_synchronous_trigger(triggers: Triggers, trigger: str) -> None:
    """Tasks are declared where no event loop runs: the error names plugin and trigger, and leaves nothing behind."""

    class Plugin:
        @hookimpl(specname=trigger)
        async def method(self, qtasks: Any) -> None: ...

    @hookimpl(specname=trigger)
    async def function() -> None: ...

    for plugin in (Plugin(), SimpleNamespace(function=function)):
        with pytest.raises(ConfigError) as caught:
            triggers.register(plugin, "P")
        words = f"plugin P: {trigger} is called where no event loop runs: expected a def, got an async def"
        assert words == str(caught.value)
    triggers.register(_plugin(**{trigger: lambda: None}), "P")

    assert ["P"] == [impl.plugin for impl in triggers.of(trigger)]


def test_a_refused_plugin_leaves_nothing_behind(triggers: Triggers) -> None:
    """All of its implementations are registered or none; mended, it can be registered under its name."""
    plugin = _plugin(worker_stop=lambda: None, worker_strat=lambda: None)
    with pytest.raises(ConfigError):
        triggers.register(plugin, "P")
    assert () == triggers.of("worker_stop")

    del plugin.worker_strat
    triggers.register(plugin, "P")
    assert ["P"] == [impl.plugin for impl in triggers.of("worker_stop")]


def test_a_class_in_place_of_its_object_is_refused(triggers: Triggers) -> None:
    """Its methods could not be called."""

    class Plugin:
        @hookimpl
        def worker_stop(self, worker: Any) -> None: ...

    with pytest.raises(
        ConfigError, match="worker_stop gives worker by name, not 'self'; register an object of the class"
    ):
        triggers.register(Plugin)


def test_a_plugin_is_registered_once(triggers: Triggers) -> None:
    """The same object again, or another of the same name, is an error that names it."""
    plugin = _plugin(worker_stop=lambda: None)
    triggers.register(plugin, "P")

    with pytest.raises(ConfigError, match="plugin P is registered already"):
        triggers.register(plugin, "Q")
    with pytest.raises(ConfigError, match="plugin P: another plugin of that name is registered already"):
        triggers.register(_plugin(worker_stop=lambda: None), "P")
    assert 1 == len(triggers.of("worker_stop"))


def test_objects_of_one_class_are_told_apart(triggers: Triggers) -> None:
    """Without a name a plugin is called by its class, the second one with a number."""
    triggers.register(_plugin(worker_stop=lambda: None))
    triggers.register(_plugin(worker_stop=lambda: None))

    assert ["SimpleNamespace #2", "SimpleNamespace"] == [impl.plugin for impl in triggers.of("worker_stop")]
