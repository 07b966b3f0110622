"""Checking the fields of a struct of settings: each is converted to its type, or told apart in plain words."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Struct

__all__ = ["checked_fields", "field_types", "set_checked", "wrong_value"]


@cache
def field_types(kind: Any) -> Mapping[str, Any]:
    """Return the type of each field of a struct or a TypedDict, with its bounds."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in getattr(kind, "__struct_fields__", hints)}


def set_checked(struct: Struct, words: Mapping[str, str], prefix: str = "") -> None:
    """Convert each field of a struct, also of a frozen one, to its type.

    Parameters:
        struct: Whose fields.
        words: What is expected, by field, where msgspec's words would not tell what to write.
        prefix: Before a field's name in messages.

    Raises:
        ConfigError: A value does not fit: what was expected, what was given.
    """
    for name, type_ in field_types(type(struct)).items():
        value = _converted(getattr(struct, name), type_, f"{prefix}{name}", words.get(name))
        msgspec.structs.force_setattr(struct, name, value)


def checked_fields(kind: Any, values: Mapping[str, Any], words: Mapping[str, str], prefix: str = "") -> Any:
    """Return values converted to the types of a TypedDict's keys.

    Parameters:
        kind: The TypedDict.
        values: Of some or all of its keys.
        words: What is expected, by key, where msgspec's words would not tell what to write.
        prefix: Before a key in messages.

    Raises:
        ConfigError: A value does not fit, or a key is unknown: names the nearest.
    """
    types = field_types(kind)
    for name in values.keys() - types.keys():
        near = difflib.get_close_matches(name, types, 1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(types)}"
        raise ConfigError(f"{prefix}{name}: there is no such option; {hint}")
    return {name: _converted(value, types[name], f"{prefix}{name}", words.get(name)) for name, value in values.items()}


def _converted(value: Any, type_: Any, label: str, words: str | None) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise wrong_value(label, value, words, error) from None


def wrong_value(label: str, given: object, words: str | None, error: msgspec.ValidationError) -> ConfigError:
    """Return the error of a value that does not fit.

    Parameters:
        label: What it is.
        given: What was given.
        words: What is expected, in plain words; None takes msgspec's.
        error: What msgspec says.
    """
    expected = f"expected {words}" if words else str(error)
    return ConfigError(f"{label}: {expected[:1].lower()}{expected[1:]}; got {given!r}")
