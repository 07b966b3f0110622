"""Checking the fields of a struct of settings: each is converted to its type, or told apart in plain words."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Struct

__all__ = ["field_types", "set_checked", "wrong_value"]


@cache
def field_types(kind: type[Struct]) -> Mapping[str, Any]:
    """Return the type of each field, with its bounds."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__}


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
        value = getattr(struct, name)
        try:
            msgspec.structs.force_setattr(struct, name, msgspec.convert(value, type_))
        except msgspec.ValidationError as error:
            raise wrong_value(f"{prefix}{name}", value, words.get(name), error) from None


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
