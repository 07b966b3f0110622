"""What plugins make of a task when it is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.triggers import Triggers

__all__ = ["extended"]


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
