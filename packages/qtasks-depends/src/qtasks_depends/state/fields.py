"""What the class of a state declares: its name, its time to live, and its fields with types and defaults."""

from __future__ import annotations

import inspect
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_origin, get_type_hints
from urllib.parse import quote

from qtasks_core.errors import CodecError
from qtasks_core.suggesting import suggestion
from qtasks_depends.state.errors import StateDeclarationError, StateKeyError, StateTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtasks_core.app import App

__all__ = ["Spec", "Stored"]

_SHOWN = 100


class Stored(NamedTuple):
    """An encoded value."""

    codec: str
    raw: bytes


class Spec:
    """What a class declares.

    Parameters:
        owner: The class.
        name: Of its buckets; None: that of the class.
        ttl: Seconds that a bucket lives after its last write; None: for ever.

    Raises:
        StateDeclarationError: The name or the time is none.
    """

    def __init__(self, owner: type, name: object, ttl: object) -> None:
        self.is_named = name is not None
        """It says its name, and is not called as the class by chance."""
        name = owner.__qualname__ if name is None else name
        if not isinstance(name, str) or not name:
            raise StateDeclarationError(f"{owner.__qualname__}: name: expected a text that is not empty, got {name!r}")
        is_number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and ttl > 0
        if ttl is not None and not is_number:
            raise StateDeclarationError(
                f"{owner.__qualname__}: ttl: expected seconds, more than 0, or None, got {ttl!r}"
            )
        taken = {name for base in owner.__mro__[1:] if base.__module__.startswith(__package__) for name in vars(base)}
        if clash := next((key for key in inspect.get_annotations(owner) if key[0] != "_" and key in taken), None):
            raise StateDeclarationError(
                f"{owner.__qualname__}.{clash}: a field cannot be called {clash!r}, which every state has: give it "
                "another name"
            )
        self.owner = owner
        self.name = name
        self.ttl: Any = ttl

    def key(self, state_key: str | None) -> str:
        """Return the key of a bucket in the global config.

        Parameters:
            state_key: Which bucket of the class; None: the one without a key.

        Raises:
            StateDeclarationError: It is no text.
        """
        if state_key is not None and not isinstance(state_key, str):
            raise StateDeclarationError(f"{self.owner.__qualname__}: state_key: expected a text, got {state_key!r}")
        bucket = "" if state_key is None else f"/{quote(state_key, safe='')}"
        return f"state/{quote(self.name, safe='')}{bucket}"

    @property
    def place(self) -> tuple[str, str]:
        """Where the class stands: file and name. A module that is imported twice stands at one place."""
        module = sys.modules.get(self.owner.__module__)
        return getattr(module, "__file__", None) or self.owner.__module__, self.owner.__qualname__

    @cached_property
    def types(self) -> Mapping[str, Any] | None:
        """The annotated types by field; None: the class annotates nothing and takes any key.

        Raises:
            StateDeclarationError: An annotation names what is not there.
        """
        try:
            hints = get_type_hints(self.owner, include_extras=True)
        except Exception as error:
            raise StateDeclarationError(
                f"{self.owner.__qualname__}: its annotations cannot be read: {error}"
            ) from error
        found = {key: type_ for key, type_ in hints.items() if get_origin(type_) is not ClassVar and key[0] != "_"}
        return found or None

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What absent fields are: the class's attributes, by field."""
        return {key: getattr(self.owner, key) for key in self.types or () if hasattr(self.owner, key)}

    def check_key(self, key: str) -> None:
        """Refuse what is no field.

        Raises:
            StateKeyError: It is none; names the nearest.
        """
        if not isinstance(key, str):
            raise StateKeyError(f"{self.owner.__qualname__}: expected a text as key, got {key!r}")
        if self.types is not None and key not in self.types:
            fields = ", ".join(self.types)
            raise StateKeyError(
                f"{self.owner.__qualname__}: expected one of the annotated fields {fields}, got {key!r}"
                f"{suggestion(key, self.types)}"
            )

    def encode(self, key: str, value: object, app: App) -> Stored:
        """Return a value as it is kept; it is read back once, so that whoever reads it finds what is annotated.

        Parameters:
            key: The field.
            value: Its value.
            app: Its serializer writes.

        Raises:
            StateKeyError: There is no such field.
            StateTypeError: It is not of the annotated type, or cannot travel.
        """
        self.check_key(key)
        codec = app.codecs.chosen
        try:
            stored = Stored(codec.codec, codec.encode(value))
            self._read(key, stored, app)
        except CodecError as error:
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
            raise StateTypeError(
                f"{self.owner.__qualname__}.{key}: expected {self._type_name(key)}, got {shown}: {error}"
            ) from None
        return stored

    def as_read(self, key: str, value: object, app: App) -> object:
        """Return what a reader would find if a value was written, or what cannot be written as it is."""
        try:
            return self._read(key, self.encode(key, value, app), app)
        except StateTypeError:
            return value

    def decode(self, key: str, stored: Stored, app: App) -> Any:
        """Return a kept value.

        Raises:
            UnknownWireError: Its codec is not installed.
            StateTypeError: It is not of the annotated type: another version of the class has written it.
        """
        try:
            return self._read(key, stored, app)
        except CodecError as error:
            raise StateTypeError(
                f"{self.owner.__qualname__}.{key}: what is kept is not {self._type_name(key)}, another version of the "
                f"class has written it: {error}; set() or delete() replaces it"
            ) from None

    def _read(self, key: str, stored: Stored, app: App) -> Any:
        return app.codecs.result_decoder(stored.codec, self._type(key))(stored.raw)

    def _type(self, key: str) -> Any:
        return Any if self.types is None else self.types.get(key, Any)

    def _type_name(self, key: str) -> str:
        type_ = self._type(key)
        if type_ is Any:
            return "a value that can travel"
        return type_.__name__ if isinstance(type_, type) else str(type_)
