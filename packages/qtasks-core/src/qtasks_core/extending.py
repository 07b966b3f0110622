"""What plugins do when an app is built and its tasks are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.discovery import load_plugins, refuse_plugin
from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.triggers import Triggers

__all__ = ["extended", "install_plugins"]


def install_plugins(triggers: Triggers) -> None:
    """Let the installed plugins answer the triggers of an app.

    Raises:
        PluginError: One is broken, and `QTASKS_PLUGINS_STRICT` is set; or it was asked for and is not there.
    """
    for found in load_plugins():
        from qtasks_core.plugins import add_installed  # noqa: PLC0415  # pluggy is loaded for plugins only

        try:
            add_installed(triggers, found.plugin, found.name)
        except ConfigError as error:
            refuse_plugin(found, error)


def extended(definition: TaskDefinition, triggers: Triggers, face: Any) -> TaskDefinition:
    """Return a task as plugins want it: `qtasks_register_task` first, then an injector for each parameter.

    Parameters:
        definition: As it was declared.
        triggers: The app's.
        face: What plugins are told is the app.

    Raises:
        PluginError: A plugin failed, changed the task's name or function, or provides what is no parameter.
    """
    if chain := triggers.of("qtasks_register_task"):
        definition = triggers.replace_now(chain, "task", qtasks=face, task=definition)
    chain = triggers.of("qtasks_register_injector")
    if not chain:
        return definition
    injectors = {}
    for parameter in definition.signature.parameters.parameters.values():
        found = triggers.first_now(chain, qtasks=face, task=definition, parameter=parameter)
        if found is not None:
            injectors[parameter.name] = found
    return definition.providing(**injectors) if injectors else definition
