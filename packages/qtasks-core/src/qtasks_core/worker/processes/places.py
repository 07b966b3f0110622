"""Where functions stand: the worker asks before it starts a process, the process finds them there.

The name comes from the worker's own definitions, which were made by importing the same code; nothing that was received
from a queue has a say in what is imported or looked up.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

from qtasks_core.app import AppFace
from qtasks_core.calls import TaskFunction
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import ConfigError
from qtasks_core.worker.processes.messages import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qtasks_core.app import App

__all__ = ["find", "find_app", "main_of", "place_of"]

logger = logging.getLogger("qtasks.worker")


def place_of(definition: TaskDefinition) -> Place:
    """Return where the function of a task stands.

    Raises:
        ConfigError: Another process could not import it from there.
    """
    function, options = definition.function, definition.options
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
        raise _not_importable(definition, "it has no name there")
    try:
        found = _look_up(sys.modules[module], qualname)
    except (AttributeError, KeyError):
        raise _not_importable(definition, f"{module}:{qualname} is not there") from None
    if _function_of(found) is not function:
        raise _not_importable(definition, f"{module}:{qualname} is another object")
    return Place(definition.name, module, qualname, options["echo"], options["generate_handler"] is not None)


def main_of(places: Iterable[Place]) -> Mapping[str, Any]:
    """Return what a process must know to import what is `__main__` here; nothing when no function stands there.

    Raises:
        ConfigError: It came from no file: an interactive session, `python -c`, a pipe.
    """
    place = next((place for place in places if place.module == "__main__"), None)
    if place is None:
        return {}
    from multiprocessing import spawn  # noqa: PLC0415  # seldom needed

    found: Mapping[str, Any] = spawn.get_preparation_data("")
    main = {key: found[key] for key in ("init_main_from_name", "init_main_from_path") if key in found}
    if not main:
        raise ConfigError(f"task {place.name!r}: its function is not in a file: expected one in a module")
    return main


def find_app(module: str, attribute: str) -> App | None:
    """Import the app; None when it is not there, which its tasks may do without."""
    try:
        found = _look_up(importlib.import_module(module), attribute)
    except Exception:
        logger.warning("the app is not known in a process for tasks: %s:%s", module, attribute, exc_info=True)
        return None
    return found.core if isinstance(found, AppFace) else None


def find(place: Place, app: App | None = None) -> tuple[TaskDefinition, App | None]:
    """Import a task's module; return its definition, and its app where that is known.

    Parameters:
        place: Where its function stands.
        app: The worker's app, where it is known.

    Raises:
        ConfigError: It is not there, or not as the worker has it.
    """
    module = importlib.import_module(place.module)
    try:
        function = _function_of(_look_up(module, place.qualname))
    except AttributeError:
        raise ConfigError(f"task {place.name!r}: there is no {place.module}:{place.qualname}") from None
    registered = None if app is None else app.registry.get(place.name)
    if registered is not None and registered.function is function:
        return registered, app
    for one in (_look_up(module, place.qualname), *vars(module).values()):
        known = one.named(place.name) if _function_of(one) is function and isinstance(one, TaskFunction) else None
        if known is not None:
            return known
    if place.has_handler:
        raise ConfigError(f"task {place.name!r}: {place.module} does not keep what app.task(…) returned in a variable")
    return TaskDefinition(function, name=place.name, echo=place.echo), None


def _look_up(module: object, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _function_of(found: Any) -> Any:
    return found.definition.function if isinstance(found, TaskFunction) else found


def _not_importable(definition: TaskDefinition, why: str) -> ConfigError:
    return ConfigError(
        f"task {definition.name!r}: a process can only run a function that it can import, as def or async def at the "
        f"top of a module; got {definition.function!r} ({definition.place}): {why}"
    )
