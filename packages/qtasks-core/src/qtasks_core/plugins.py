"""What plugin authors use: `hookimpl`, `BasePlugin`, and what `app.add_plugin` makes of a plugin."""

from __future__ import annotations

import inspect
from functools import partial, update_wrapper
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from pluggy import HookimplMarker, PluginManager

from qtasks_core import hookspecs
from qtasks_core.errors import ConfigError
from qtasks_core.hookspecs._marker import is_synchronous
from qtasks_core.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from qtasks_core.triggers import Triggers

__all__ = ["BasePlugin", "add_installed", "add_plugin", "hookimpl", "new_manager"]

hookimpl = HookimplMarker("qtasks")
"""Marks a method as the answer to the trigger that it is named after; takes `tryfirst=True` and `trylast=True`."""


class BasePlugin:
    """A plugin: override the triggers that it answers by their names, or `trigger` to answer many in one place.

    A subclass is made by its user and given to `app.add_plugin(MyPlugin(…))`, so it may take what it likes.
    """

    name: str | None = None
    """How messages call it; the name of its class by default."""

    def start(self) -> Any:
        """Get ready: its component starts, on the loop that this is called on; `async def` may override it.

        What it raises stops the start.
        """

    def stop(self) -> Any:
        """Let go of everything: its component stops; `async def` may override it."""

    def trigger(self, name: str, /, **kwargs: Any) -> Any:
        """Answer a trigger that has no method of its own; `async def` may override it.

        Parameters:
            name: The trigger.
            kwargs: Its arguments.

        Returns:
            What replaces the value, or None to leave it.
        """


class _Component(NamedTuple):
    """Which triggers are a component's, and which tell of its start and stop."""

    prefixes: tuple[str, ...]
    start: str
    stop: str


_COMPONENTS = {
    "qtasks": _Component(("qtasks_",), "broker_start", "broker_stop"),
    "broker": _Component(("broker_",), "broker_start", "broker_stop"),
    "storage": _Component(("storage_",), "storage_start", "storage_stop"),
    "global_config": _Component(("global_config_",), "global_config_start", "global_config_stop"),
    "worker": _Component(("worker_", "task_executor_"), "worker_start", "worker_stop"),
    "task_executor": _Component(("task_executor_",), "worker_start", "worker_stop"),
    "starter": _Component(("starter_",), "starter_start", "starter_stop"),
    "stats": _Component(("stats_",), "broker_start", "broker_stop"),
}


class _View:
    """The part of a plugin that answers the chosen triggers, and its `start` and `stop`.

    Parameters:
        plugin: The plugin.
        who: How messages call it.
        chosen: Its function for each trigger.
        life: By step, start and stop, the trigger that tells of it, and the function.
    """

    def __init__(
        self,
        plugin: object,
        who: str,
        chosen: Mapping[str, Callable[..., Any]],
        life: Mapping[str, tuple[str, Callable[..., Any]]],
    ) -> None:
        self.__name__ = who
        self.plugin = plugin
        self.chosen = frozenset(chosen)
        self.life = {step: trigger for step, (trigger, _) in life.items()}
        functions = {**chosen, **{step: function for step, (_, function) in life.items()}}
        vars(self).update({name: _hookable(function) for name, function in functions.items()})

    def __dir__(self) -> list[str]:
        return [*self.chosen, *self.life]


class _Manager(PluginManager):
    """Takes the functions of a view as they are, marked or not."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if not isinstance(plugin, _View):
            return super().parse_hookimpl_opts(plugin, name)
        marked = getattr(getattr(plugin, name), "qtasks_impl", None) or {}
        return {**_UNMARKED, **marked, "specname": plugin.life.get(name, name)}


_UNMARKED = {"wrapper": False, "hookwrapper": False, "optionalhook": False, "tryfirst": False, "trylast": False}


def new_manager() -> PluginManager:
    """Return what keeps the plugins of one app, with all triggers declared."""
    manager = _Manager("qtasks")
    manager.add_hookspecs(hookspecs)
    return manager


def add_installed(triggers: Triggers, plugin: object, name: str) -> None:
    """Let a plugin that is installed answer triggers: of a module the functions that are marked, of an object all.

    Parameters:
        triggers: The app's.
        plugin: A module or an object.
        name: Of its entry point.

    Raises:
        ConfigError: Something does not fit; nothing is added then.
    """
    if inspect.ismodule(plugin):
        triggers.register(plugin, name)
    else:
        add_plugin(triggers, plugin, name=name)


def add_plugin(
    triggers: Triggers,
    plugin: object,
    trigger_names: Sequence[str] | None = None,
    component: str | None = None,
    *,
    name: str | None = None,
) -> None:
    """Let a plugin answer triggers; see `qtasks_core.registration.Registration.add_plugin`.

    Parameters:
        triggers: The app's.
        plugin: The plugin.
        trigger_names: Those that it answers.
        component: Whose triggers it answers, and with which it starts and stops.
        name: How messages call it; None: as it calls itself.

    Raises:
        ConfigError: Something does not fit; nothing is added then.
    """
    who = _checked_name(plugin) if name is None else name
    part = _component(who, component)
    chosen = _chosen(who, plugin, trigger_names, None if component is None else part.prefixes)
    earlier = [view for view in triggers.manager.get_plugins() if isinstance(view, _View) and view.plugin is plugin]
    if twice := next((name for view in earlier for name in chosen if name in view.chosen), None):
        raise ConfigError(f"plugin {who}: it answers {twice} already: the same object was added before")
    told = {trigger for view in earlier for trigger in view.life.values()}
    life = {step: (trigger, function) for step, trigger, function in _life(plugin, part) if trigger not in told}
    triggers.register(_View(plugin, who, chosen, life), name)


def _checked_name(plugin: object) -> str:
    if inspect.isclass(plugin):
        raise ConfigError(f"add_plugin: expected an object, got the class {plugin.__name__}; write {plugin.__name__}()")
    if inspect.isroutine(plugin):
        raise ConfigError(f"add_plugin: expected an object with methods named after triggers, got {plugin!r}")
    name: Any = getattr(plugin, "name", None) or getattr(plugin, "__name__", None) or type(plugin).__qualname__
    if not isinstance(name, str):
        raise ConfigError(f"add_plugin: {plugin!r}: name: expected a text, got {name!r}")
    return name


def _component(who: str, component: str | None) -> _Component:
    found = _COMPONENTS.get("qtasks" if component is None else component)
    if found is None:
        raise ConfigError(
            f"plugin {who}: component: expected one of {', '.join(_COMPONENTS)}, got {component!r}"
            + suggestion(str(component), _COMPONENTS)
        )
    return found


def _chosen(
    who: str, plugin: object, trigger_names: Sequence[str] | None, prefixes: tuple[str, ...] | None
) -> dict[str, Callable[..., Any]]:
    """Return the function of a plugin for each trigger that it is to answer."""
    known = hookspecs.__all__
    named = _named(plugin, known)
    generic = getattr(plugin, "trigger", None) if _answers_all(plugin) else None
    if trigger_names is not None:
        return {name: _answer(who, name, named, generic) for name in _checked_names(who, trigger_names, known)}
    if generic is not None:
        own = prefixes or _COMPONENTS["qtasks"].prefixes
        for name in known:
            if name.startswith(own) and name not in named and not _cannot_answer(name, generic):
                named[name] = partial(generic, name)
    found = {name: function for name, function in named.items() if prefixes is None or name.startswith(prefixes)}
    if not found:
        of_component = "" if prefixes is None else f" that begins with {' or '.join(prefixes)}"
        methods = [name for name in dir(plugin) if not name.startswith("_")]
        near = next((hint for name in methods if "_" in name and (hint := suggestion(name, known))), "")
        raise ConfigError(f"plugin {who}: expected a method named after a trigger{of_component}, found none{near}")
    return found


def _named(plugin: object, known: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Return the methods that are named after triggers, or marked as the answer to one of another name."""
    found = {name: getattr(plugin, name) for name in known if callable(getattr(plugin, name, None))}
    for attribute in dir(plugin):
        if not attribute.startswith("__"):
            function = getattr(plugin, attribute, None)
            marked = getattr(function, "qtasks_impl", None) or {}
            if marked.get("specname"):
                found[marked["specname"]] = function
    return found


def _checked_names(who: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"plugin {who}: trigger_names: expected a list of texts, got {names!r}")
    if not names:
        raise ConfigError(f"plugin {who}: trigger_names: expected at least one trigger, got none")
    for name in names:
        if name not in known:
            raise ConfigError(f"plugin {who}: there is no trigger {name!r}{suggestion(name, known)}")
    return list(dict.fromkeys(names))


def _answer(
    who: str, name: str, named: Mapping[str, Callable[..., Any]], generic: Callable[..., Any] | None
) -> Callable[..., Any]:
    if name in named:
        return named[name]
    if generic is None:
        raise ConfigError(f"plugin {who}: trigger_names: {name} is not answered: expected a method {name}(…)")
    return partial(generic, name)


def _hookable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same as a function, which pluggy insists on."""
    if isinstance(function, (FunctionType, MethodType)):
        return function
    if inspect.iscoroutinefunction(function):

        async def answer_later(**kwargs: Any) -> Any:
            return await function(**kwargs)

        return update_wrapper(answer_later, function)

    def answer(**kwargs: Any) -> Any:
        return function(**kwargs)

    return update_wrapper(answer, function)


def _answers_all(plugin: object) -> bool:
    return isinstance(plugin, BasePlugin) and type(plugin).trigger is not BasePlugin.trigger


def _cannot_answer(name: str, generic: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(generic) and is_synchronous(getattr(hookspecs, name))


def _life(plugin: object, part: _Component) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield what is called when the component starts and stops: the step, its trigger, the function."""
    for step, trigger in (("start", part.start), ("stop", part.stop)):
        function = getattr(plugin, step, None)
        is_own = getattr(type(plugin), step, None) is not getattr(BasePlugin, step)
        if callable(function) and is_own:
            yield step, trigger, function
