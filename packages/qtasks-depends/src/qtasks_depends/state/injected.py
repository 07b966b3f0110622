"""States as parameters: which annotation is one, whether it can be kept, and the state itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from qtasks_depends.state.errors import StateDeclarationError
from qtasks_depends.state.states import AsyncState, State, SyncState

if TYPE_CHECKING:
    from qtasks_core.app import App

__all__ = ["bound", "check_state", "state_class_of"]


def state_class_of(annotation: Any) -> type[State] | None:
    """Return the class of a state that an annotation asks for; None: it asks for something else."""
    return annotation if inspect.isclass(annotation) and issubclass(annotation, State) else None


def check_state(state: type[State], app: App, where: str, *, is_async: bool) -> None:
    """Refuse a state that cannot be provided.

    Parameters:
        state: Its class.
        app: The app.
        where: Who asks for it, for messages.
        is_async: Whether that is an `async def`.

    Raises:
        StateDeclarationError: It is of the other face or of none, the app's global config has no compare-and-set, or
            another class has its name.
    """
    kind, face = ("an async def", AsyncState) if is_async else ("a def", SyncState)
    if not issubclass(state, face) or state is face:
        raise StateDeclarationError(
            f"{where}: expected a subclass of {face.__name__}, for it is of {kind}; got {state.__qualname__}"
        )
    if not app.sources.can_compare_and_set():
        raise StateDeclarationError(
            f"{where}: {state.__qualname__} is kept in the global config, and {app.describe()['global_config']} has "
            "none with compare-and-set: name one that has with global_config_url=, as global_config_url='redis://…' or "
            "'sqlite:///…'"
        )
    _ = state.spec.types  # annotations that cannot be read are told now
    known: dict[str, tuple[tuple[str, str], type]] = app.new_context().shared("qtasks_depends.state names", dict)
    place, known_face = known.setdefault(state.spec.name, (state.spec.place, face))
    if place == state.spec.place or (state.spec.is_named and known_face is not face):
        return  # both faces of one state: whoever says name= means it
    raise StateDeclarationError(
        f"{where}: two classes are called {state.spec.name!r}, and would share their buckets: {_shown(place)} and "
        f"{_shown(state.spec.place)}; give one another name: class {state.__name__}({face.__name__}, name='…')"
    )


def bound(state: type[State], app: App) -> State:
    """Return a state for one run; nothing is read before it is asked.

    Parameters:
        state: Its class.
        app: The app.
    """
    return state(app)


def _shown(place: tuple[str, str]) -> str:
    file, name = place
    return f"{name} in {file}"
