"""What a task takes and gives: calls are checked in the client, arguments converted in the worker."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from functools import partial
from inspect import Parameter
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import msgspec

from qtasks_core.errors import ArgumentError, CodecError
from qtasks_core.serializers import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["Converter", "Signature"]

logger = logging.getLogger("qtasks.task")

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_SHOWN = 200
_ITERATORS = (Generator, Iterator, Iterable, AsyncGenerator, AsyncIterator, AsyncIterable)
_GENERATOR_PARTS = 3


class Signature:
    """The parameters of a task's function, made for checking calls fast.

    Parameters:
        function: The task's function.
        name: The task's name, for messages.
        provided: Parameters that no caller passes.
    """

    def __init__(self, function: Callable[..., Any], name: str, provided: Collection[str] = ()) -> None:
        self.name = name
        self._function = function
        whole = inspect.signature(function)
        parameters = [one for one in whole.parameters.values() if one.name not in provided]
        self._signature = whole.replace(parameters=parameters)
        positional = [one for one in parameters if one.kind in _POSITIONAL]
        self._most = len(positional)
        self._least = sum(1 for one in positional if one.default is Parameter.empty)
        self._plain = not any(
            one.kind is Parameter.KEYWORD_ONLY and one.default is Parameter.empty for one in parameters
        )

    @property
    def parameters(self) -> inspect.Signature:
        """The signature that callers see."""
        return self._signature

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise the TypeError that calling the function with these arguments would raise."""
        if not kwargs and self._plain and self._least <= len(args) <= self._most:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None

    def converter(self) -> Converter:
        """Compile the annotations; done once per task, when a worker starts."""
        return Converter(self.name, self._signature, _hints(self._function, self.name))

    def returns(self) -> Any:
        """Return the annotated type of the result, `Any` when there is none; a generator's is its list of values."""
        hint = _hints(self._function, self.name).get("return", Any)
        if get_origin(hint) in _ITERATORS:
            hint = _result_of(get_origin(hint), get_args(hint))
        return Any if hint is None or not _is_supported(hint) else hint


class Converter:
    """Makes decoded arguments what the function's annotations say."""

    def __init__(self, name: str, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._name = name
        parameters = signature.parameters.values()
        types = {one.name: _type_of(one, hints) for one in parameters}
        self._positional = [(one.name, types[one.name]) for one in parameters if one.kind in _POSITIONAL]
        self._named = {one.name: types[one.name] for one in parameters if one.kind is not Parameter.POSITIONAL_ONLY}
        self._rest = next(
            ((one.name, types[one.name]) for one in parameters if one.kind is Parameter.VAR_POSITIONAL), None
        )
        self._extra = next((types[one.name] for one in parameters if one.kind is Parameter.VAR_KEYWORD), Any)
        self._typed = any(type_ is not Any for type_ in types.values())
        self._tuples: dict[int, Any] = {}

    def convert(
        self, args: Sequence[Any], kwargs: dict[str, Any], one: Callable[[Any, Any], Any] = convert
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments to call the function with.

        Parameters:
            args: Positional, decoded.
            kwargs: By name, decoded.
            one: Makes a value what a type says.

        Raises:
            ArgumentError: One does not fit its annotation; names parameter, expected type and value.
        """
        if self._typed:
            if args:
                args = self._convert_positional(args, one)
            if kwargs:
                kwargs = {
                    key: self._convert_one(key, self._named.get(key, self._extra), kwargs[key], one) for key in kwargs
                }
        return tuple(args), kwargs

    def _convert_positional(self, args: Sequence[Any], one: Callable[[Any, Any], Any]) -> tuple[Any, ...]:
        try:
            return one(args, self._tuples.get(len(args)) or self._tuple_of(len(args)))  # type: ignore[no-any-return]
        except CodecError:
            pairs = self._pairs(len(args))
            return tuple(
                self._convert_one(name, type_, value, one) for (name, type_), value in zip(pairs, args, strict=True)
            )

    def _convert_one(self, name: str, type_: Any, value: Any, one: Callable[[Any, Any], Any]) -> Any:
        try:
            return one(value, type_)
        except CodecError as error:
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
            text = f"{self._name}(): parameter {name!r}: {error}; the value is {shown}"
            raise ArgumentError(text) from None

    def _tuple_of(self, count: int) -> Any:
        made = self._tuples[count] = tuple.__class_getitem__(tuple(type_ for _, type_ in self._pairs(count)))
        return made

    def _pairs(self, count: int) -> list[tuple[str, Any]]:
        missing = count - len(self._positional)
        rest = self._rest or ("args", Any)
        return [*self._positional[:count], *([rest] * missing)]


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(_annotated(function), include_extras=True)
    except Exception as error:  # noqa: BLE001  # they are any code; a task without conversion is better than no worker
        logger.warning("task %s: annotations are not used to convert its arguments: %s", name, error)
        return {}


def _annotated(function: Any) -> Any:
    """Return what has the annotations: a partial's function, a callable object's method."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else function.__call__


def _result_of(iterator: Any, parts: tuple[Any, ...]) -> Any:
    """Return what the generator returns, else a list of what it yields."""
    if iterator is Generator and len(parts) == _GENERATOR_PARTS and parts[-1] not in {None, NoneType}:
        return parts[-1]
    return list[parts[0]] if parts else list  # type: ignore[valid-type]  # a type that is known at run time


def _type_of(parameter: Parameter, hints: Mapping[str, Any]) -> Any:
    hint = hints.get(parameter.name, Any)
    return hint if _is_supported(hint) else Any


def _is_supported(hint: Any) -> bool:
    try:
        msgspec.msgpack.Decoder(hint)
    except (TypeError, ValueError):
        return False
    return not _is_for_checkers_only(hint)


def _is_for_checkers_only(hint: Any) -> bool:
    """Say whether a protocol is in it that no value can be compared with."""
    if getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False):
        return True
    return any(_is_for_checkers_only(part) for part in get_args(hint))
