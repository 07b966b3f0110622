"""What the annotations of a parameter say, also when they are texts that name things which only type checkers know."""

from __future__ import annotations

import builtins
import inspect
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

from qtasks_depends.errors import DependencyError
from qtasks_depends.marking import Dependency
from qtasks_depends.state import state_class_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asked", "asked_by", "name_of"]


class Asked(NamedTuple):
    """What one parameter asks for."""

    name: str
    type_: Any
    """Its annotation without `Annotated`; None where there is none, or it names what is not there at run time."""
    mark: Dependency | None
    """What `Depends` made, from the default or from `Annotated`."""
    is_optional: bool
    """It has a value of its own, or takes any number of values."""
    is_position_only: bool


def asked_by(function: Callable[..., Any], path: str) -> list[Asked]:
    """Return what the parameters of a function, or of a class, ask for.

    Parameters:
        function: The function.
        path: The way to it, for messages.

    Raises:
        DependencyError: It has no signature, or an annotation with `Depends` in it cannot be read.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise DependencyError(f"{path}: expected a function with a signature, got {function!r}: {error}") from None
    names = _Names(_defined_by(function))
    return [_asked(one, names, path) for one in parameters]


def name_of(function: Callable[..., Any]) -> str:
    """Return how messages call a function."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def _asked(parameter: Parameter, names: _Names, path: str) -> Asked:
    hint = _read(parameter, names, path)
    marks: list[Dependency] = []
    while get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
        marks = [one for one in extra if isinstance(one, Dependency)] or marks
    mark = parameter.default if isinstance(parameter.default, Dependency) else marks[-1] if marks else None
    state = None if mark is None else state_class_of(mark.function or hint)
    if state is not None:  # `Depends()` says to type checkers that callers leave it out
        hint, mark = state, None
    is_known = not isinstance(hint, _Unknown) and hint is not Parameter.empty
    takes_any = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    has_value = parameter.default is not Parameter.empty and not isinstance(parameter.default, Dependency)
    return Asked(
        parameter.name,
        hint if is_known else None,
        mark,
        takes_any or has_value,
        parameter.kind is Parameter.POSITIONAL_ONLY,
    )


def _read(parameter: Parameter, names: _Names, path: str) -> Any:
    hint = parameter.annotation
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, {"__builtins__": {}}, names)  # noqa: S307  # it is the text of an annotation, in the user's code
    except Exception as error:
        if "Depends" not in hint:
            return _Unknown(hint)
        raise DependencyError(
            f"{path}: parameter {parameter.name!r}: its annotation {hint!r} cannot be read: {error}; what it names has "
            "to be there when the program runs, in the module or around the function"
        ) from error


def _defined_by(function: Callable[..., Any]) -> Any:
    """Return the plain function whose names the annotations use."""
    found: Any = function
    while isinstance(found, partial):
        found = found.func
    if inspect.isclass(found):
        return found.__init__
    if not inspect.isroutine(found):
        found = type(found).__call__
    return inspect.unwrap(found)


class _Names(dict[str, Any]):
    """The names that a function sees: around it, in its module, built in; any other is unknown."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._globals: dict[str, Any] = getattr(function, "__globals__", {})
        code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
        for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=False):
            try:
                self[name] = cell.cell_contents
            except ValueError:  # it is not bound yet
                continue

    def __missing__(self, name: str) -> Any:
        for names in (self._globals, vars(builtins)):
            if name in names:
                return names[name]
        return _Unknown(name)


class _Unknown:
    """Stands for what is not there when the program runs, as names that are imported for type checkers only."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"{self._text}, which is not known here"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Unknown(f"{self._text}.{name}")

    def __getitem__(self, _: object) -> _Unknown:
        return self

    def __or__(self, _: object) -> _Unknown:
        return self

    __ror__ = __or__
