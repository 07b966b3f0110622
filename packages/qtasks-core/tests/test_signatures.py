"""Calls are checked as Python would, arguments become what the annotations say, and errors name parameter and value."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol, SupportsInt, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.errors import ArgumentError, CodecError
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.signatures import Signature

T = TypeVar("T")


def travel(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments as a worker's function gets them: encoded, decoded, converted."""
    decode = DEFAULT_SERIALIZER.decoder(Any)
    converter = Signature(function, "f").converter()
    return converter.convert(decode(DEFAULT_SERIALIZER.encode(args)), decode(DEFAULT_SERIALIZER.encode(kwargs)))


# ---------------------------------------------------------------- calls


def _none() -> None: ...
def _two(a: int, b: int = 0) -> None: ...
def _positional(a: int, /, b: int) -> None: ...
def _named(a: int, *, b: int) -> None: ...
def _optional(a: int = 1, *, b: int = 2) -> None: ...
def _any(*args: int, **kwargs: int) -> None: ...
def _rest(a: int, *args: int, b: int = 1) -> None: ...


FUNCTIONS = [_none, _two, _positional, _named, _optional, _any, _rest]


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers()),
)
def test_a_call_is_refused_when_python_would(
    function: Callable[..., None], args: list[int], kwargs: dict[str, int]
) -> None:
    """TypeError if and only if the function itself raises one."""
    signature = Signature(function, "f")
    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match=r"^f\(\) "):
            signature.check(args, kwargs)
    else:
        signature.check(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "add() missing a required argument: 'a'"),
        ((1, 2, 3), {}, "add() too many positional arguments"),
        ((1,), {"c": 2}, "add() got an unexpected keyword argument 'c'"),
        ((1,), {"a": 2}, "add() multiple values for argument 'a'"),
    ],
)
def test_the_message_names_task_and_parameter(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    """As Python's own messages do."""
    with pytest.raises(TypeError) as caught:
        Signature(_two, "add").check(args, kwargs)

    assert message == str(caught.value)


def test_the_signature_is_the_functions() -> None:
    """Triggers are shown it."""
    assert inspect.signature(_two) == Signature(_two, "f").parameters


# ---------------------------------------------------------------- arguments


class Point(msgspec.Struct):
    x: int


class Session:
    """Nothing that travels."""


class Shape(Protocol):
    size: int


def test_arguments_become_what_the_annotations_say() -> None:
    """Positional, named, the rest, and the unnamed rest."""

    def function(a: UUID, b: tuple[int, ...], /, c: Point, *d: set[int], e: float, **f: Point) -> None: ...

    uuid = UUID(int=1)

    assert ((uuid, (1,), Point(2), {3}, {4}), {"e": 5.0, "z": Point(6)}) == travel(
        function, uuid, [1], Point(2), {3}, {4}, e=5, z=Point(6)
    )


def test_named_arguments_are_converted_like_positional_ones() -> None:
    """Whichever way the caller chose."""

    def function(a: tuple[int, ...], b: Point) -> None: ...

    assert ((), {"b": Point(1), "a": (2,)}) == travel(function, b=Point(1), a=[2])


def test_without_annotations_nothing_is_converted() -> None:
    """Plain data arrives as plain data."""

    def function(a, b=None): ...  # type: ignore[no-untyped-def]  # noqa: ANN202, ANN001

    assert (([1], {"x": 1}), {}) == travel(function, (1,), Point(1))


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("1",), {}, "f(): parameter 'a': Expected `int`, got `str`; the value is '1'"),
        ((1, 2), {}, "f(): parameter 'b': Expected `array`, got `int`; the value is 2"),
        ((1, ["x"]), {}, "f(): parameter 'b': Expected `int`, got `str` - at `$[0]`; the value is ['x']"),
        ((1, [1], "x"), {}, "f(): parameter 'rest': Expected `float`, got `str`; the value is 'x'"),
        ((1,), {"named": 0}, "f(): parameter 'named': Expected `int` >= 1; the value is 0"),
        ((1,), {"z": []}, "f(): parameter 'z': Expected `bool`, got `array`; the value is []"),
        (("v" * 300,), {}, f"f(): parameter 'a': Expected `int`, got `str`; the value is '{'v' * 199}…"),
    ],
)
def test_what_does_not_fit_names_parameter_expectation_and_value(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    """ArgumentError, which is a CodecError; a long value is cut."""

    def function(
        a: int, b: Sequence[int] = (), *rest: float, named: Annotated[int, msgspec.Meta(ge=1)] = 1, **others: bool
    ) -> None: ...

    with pytest.raises(ArgumentError) as caught:
        travel(function, *args, **kwargs)

    assert message == str(caught.value)
    assert isinstance(caught.value, CodecError)


def test_more_arguments_than_parameters_are_left_to_the_function() -> None:
    """A call by name from a process without the code: the function itself raises its TypeError."""

    def function(a: int) -> None: ...

    assert ((1, 2, "x"), {"b": 3}) == travel(function, 1, 2, "x", b=3)


def test_a_class_that_cannot_travel_takes_its_instances_only() -> None:
    """What a plugin puts in passes; what came over the wire does not."""

    def function(session: Session) -> None: ...

    session = Session()
    converter = Signature(function, "f").converter()

    assert ((session,), {}) == converter.convert([session], {})
    with pytest.raises(ArgumentError, match="parameter 'session': Expected `Session`, got `int`; the value is 1"):
        converter.convert([1], {})


@pytest.mark.parametrize("hint", [Shape, list[Shape], Shape | None, T, "Missing", "list[Missing]"])
def test_annotations_that_mean_nothing_at_run_time_convert_nothing(hint: Any) -> None:
    """Protocols for type checkers, type variables, names that are not there: any value passes."""

    def function(a: Any) -> None: ...

    function.__annotations__["a"] = hint

    assert (([1],), {}) == travel(function, [1])


def test_a_protocol_for_run_time_is_checked() -> None:
    """As the annotation says."""

    def function(a: SupportsInt) -> None: ...

    assert ((1.5,), {}) == travel(function, 1.5)
    with pytest.raises(ArgumentError, match="parameter 'a'"):
        travel(function, "one")


@pytest.mark.parametrize("hint", ["np.ndarray", "a b", "1 | int", "inspect.Nothing"])
def test_annotations_that_cannot_be_read_are_a_warning(hint: str, caplog: pytest.LogCaptureFixture) -> None:
    """The task runs without conversion; a worker starts with whatever stands in an annotation."""

    def function(a: Any, b: int) -> Any: ...

    function.__annotations__["a"] = hint
    with caplog.at_level(logging.WARNING):
        assert ((1, "x"), {}) == travel(function, 1, "x")

    assert "task f: annotations are not used to convert its arguments: " in caplog.text
    assert Any is Signature(function, "f").returns()


class _Callable:
    def __call__(self, a: int) -> int:
        return a

    def method(self, a: int) -> int:
        return a


@functools.wraps(_two)
def _wrapper(*args: Any, **kwargs: Any) -> None:
    _two(*args, **kwargs)


@pytest.mark.parametrize(
    "function",
    [functools.partial(_two, b=1), _Callable(), _Callable().method, functools.partial(_Callable()), _wrapper],
)
def test_what_is_called_like_a_function_is_read_like_one(function: Callable[..., Any]) -> None:
    """Partials, callable objects, bound methods, and decorated functions have the annotations of what they call."""
    assert ((1,), {}) == travel(function, 1)
    with pytest.raises(ArgumentError, match="parameter 'a': Expected `int`, got `str`"):
        travel(function, "1")


# ---------------------------------------------------------------- results


def _sequence() -> Sequence[int]: ...  # type: ignore[empty-body]
def _shape() -> Shape: ...  # type: ignore[empty-body]
def _generic(value: T) -> T: ...  # type: ignore[empty-body]
async def _point() -> Point: ...  # type: ignore[empty-body]
def _bare(): ...  # type: ignore[no-untyped-def]  # noqa: ANN202


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_none, type(None)),
        (_sequence, Sequence[int]),
        (_point, Point),
        (_shape, Any),
        (_bare, Any),
        (_Callable(), int),
        (functools.partial(_Callable().method), int),
    ],
)
def test_the_type_of_the_result_is_the_annotated_one(function: Callable[..., Any], expected: Any) -> None:
    """Any when there is none, or none that can be decoded to."""
    assert expected == Signature(function, "f").returns()


def test_a_type_variable_decodes_to_anything() -> None:
    """A generic function's result is plain data."""
    decode = DEFAULT_SERIALIZER.decoder(Signature(_generic, "f").returns())

    assert [1] == decode(DEFAULT_SERIALIZER.encode([1]))
