"""Plugins that are there because they are installed: the group `qtasks`, loaded one by one when an app is built.

What is broken is told once and skipped, unless somebody asked for it by name or wants to be strict:

    QTASKS_PLUGINS          names, separated by commas: only these, and each must work
    QTASKS_DISABLE_PLUGINS  names that are not loaded; `*` for all
    QTASKS_PLUGINS_STRICT   1: what is broken raises
"""

from __future__ import annotations

import logging
import os
import threading
from inspect import isclass, ismodule
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.discovery.entries import PLUGINS, check_api, entries
from qtasks_core.errors import ConfigError, PluginError
from qtasks_core.suggesting import suggestion

if TYPE_CHECKING:
    from qtasks_core.discovery.entries import Entry
    from qtasks_core.triggers import Triggers

__all__ = ["EXPECTED", "Choice", "LoadedPlugin", "load_plugins", "plugin_of"]

logger = logging.getLogger("qtasks.plugins")

EXPECTED = "an object or a class with methods named after triggers, or a module with functions marked by hookimpl"
"""What may be a plugin, as messages say it."""

_told: set[str] = set()
_lock = threading.Lock()


class LoadedPlugin(NamedTuple):
    """A plugin that is installed: its name, the object or module that answers triggers, and whose it is."""

    name: str
    plugin: Any
    owner: str
    """Distribution and version."""
    origin: str
    """The same with the entry point, as messages have it."""


class Choice(NamedTuple):
    """Which plugins the environment wants."""

    only: frozenset[str] | None
    blocked: frozenset[str]

    @classmethod
    def from_environment(cls) -> Choice:
        """Read QTASKS_PLUGINS and QTASKS_DISABLE_PLUGINS."""
        return cls(_names("QTASKS_PLUGINS") or None, _names("QTASKS_DISABLE_PLUGINS"))

    def blocks(self, name: str) -> str | None:
        """Return the variable that keeps a plugin from being loaded, or None."""
        if name in self.blocked or "*" in self.blocked:
            return "QTASKS_DISABLE_PLUGINS"
        return "QTASKS_PLUGINS" if self.only is not None and name not in self.only else None


def load_plugins(triggers: Triggers) -> list[LoadedPlugin]:
    """Let the plugins that are installed and wanted answer triggers; return them, sorted by name.

    A class is instantiated at each call. What is broken is logged once in this process, with distribution, version and
    entry point, and left out.

    Parameters:
        triggers: An app's.

    Raises:
        ConfigError: QTASKS_PLUGINS names one that is not installed; says which is nearest. Or QTASKS_PLUGINS_STRICT
            is neither 1 nor 0.
        PluginError: One is broken that QTASKS_PLUGINS names, or QTASKS_PLUGINS_STRICT is set.
    """
    choice, installed, is_strict = Choice.from_environment(), entries(PLUGINS), _is_strict()
    _check_installed(choice, {one.name for one in installed})
    found = []
    for entry in installed:
        if choice.blocks(entry.name) is None:
            try:
                found.append(LoadedPlugin(entry.name, plugin_of(entry, triggers), entry.owner, entry.origin))
            except PluginError as error:
                _refuse(error, is_asked_for=is_strict or choice.only is not None)
    return found


def plugin_of(entry: Entry, triggers: Triggers) -> Any:
    """Load a plugin, a module or an object as it is, of a class an object, and let it answer triggers.

    Parameters:
        entry: Its entry point.
        triggers: An app's; whoever only wants to know whether it works gives triggers of no app.

    Raises:
        PluginError: It cannot be loaded or built, answers no trigger or one that does not exist, was made for
            another version, or there is another one of its name; none of its triggers is answered then.
    """
    what = f"plugin {entry.name}"
    others = [one for one in entries(PLUGINS, entry.name) if one != entry]
    if others:
        origins = " and ".join(one.origin for one in others)
        raise PluginError(f"{what} {entry.origin}: there is another one of its name {origins}; uninstall one")
    found, where = entry.load(what), f"{what} {entry.origin}"
    if getattr(found, "qtasks_api", None) is not None:  # its triggers are checked one by one, so it need not say
        check_api(where, found)
    try:
        plugin = found() if isclass(found) else found
        is_plugin = _answers_triggers(plugin)
        if is_plugin:
            from qtasks_core.plugins import add_installed  # noqa: PLC0415  # pluggy is loaded for plugins only

            add_installed(triggers, plugin, entry.name)
    except (Exception, SystemExit) as error:
        reason = str(error).removeprefix(f"{what}: ") if isinstance(error, ConfigError) else repr(error)
        raise PluginError(f"{where} cannot be used: {reason}") from error
    if not is_plugin:
        raise PluginError(f"{where}: expected {EXPECTED}, got {found!r}")
    return plugin


def _answers_triggers(plugin: object) -> bool:
    from qtasks_core import hookspecs  # noqa: PLC0415  # pluggy is loaded for plugins only

    names = dir(plugin)
    if any(hasattr(getattr(plugin, name, None), "qtasks_impl") for name in names):
        return True
    has_method = callable(getattr(plugin, "trigger", None)) or not set(hookspecs.__all__).isdisjoint(names)
    return has_method and not ismodule(plugin)


def _refuse(error: PluginError, *, is_asked_for: bool) -> None:
    if is_asked_for:
        raise error
    text = str(error)
    with _lock:
        is_new = text not in _told
        _told.add(text)
    if is_new:
        logger.warning("%s; it is skipped, `qtasks plugins` lists all", text)


def _check_installed(choice: Choice, installed: set[str]) -> None:
    for name in sorted((choice.only or frozenset()) - installed):
        hint = suggestion(name, installed) or "."
        there = ", ".join(sorted(installed)) or "none"
        raise ConfigError(f"QTASKS_PLUGINS: no plugin {name!r} is installed{hint} Installed: {there}")


def _names(variable: str) -> frozenset[str]:
    return frozenset(name.strip() for name in os.environ.get(variable, "").split(",") if name.strip())


def _is_strict() -> bool:
    text = os.environ.get("QTASKS_PLUGINS_STRICT", "").strip().lower()
    if text not in {"", "0", "1", "false", "true"}:
        raise ConfigError(f"QTASKS_PLUGINS_STRICT: expected 1 or 0, got {text!r}")
    return text in {"1", "true"}
