"""Values as bytes: what travels, what is refused in which words, and bounds on nesting."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import threading
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.errors import CodecError
from qtasks_core.serializers import (
    DEFAULT_SERIALIZER,
    JsonSerializer,
    MsgpackSerializer,
    builtin_serializers,
    check_depth,
    convert,
    convert_texts,
)

encode = DEFAULT_SERIALIZER.encode
JSON = JsonSerializer()


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: list[int]


class Shape(msgspec.Struct):
    points: list[Point]


class Plain:
    pass


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    """Numbers, texts, bytes, lists and mappings need no annotation."""
    assert value == DEFAULT_SERIALIZER.decoder(Any)(encode(value))


@pytest.mark.parametrize(
    ("value", "without_annotation"),
    [
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (UUID(int=1), str(UUID(int=1))),
        (decimal.Decimal("1.50"), "1.50"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(hours=1), "PT3600S"),
        (Colour.RED, "red"),
        (Point(1, [2]), {"x": 1, "y": [2]}),
        (Shape([Point(1, [2])]), {"points": [{"x": 1, "y": [2]}]}),
        ({1: "a"}, {1: "a"}),
    ],
)
def test_richer_values_come_back_by_their_annotation(value: Any, without_annotation: Any) -> None:
    """With the annotation as they were; without it as the plain data that they travel as."""
    raw = encode(value)
    types: dict[type, Any] = {tuple: tuple[int, int], set: set[int], dict: dict[int, str]}
    type_ = types.get(type(value), type(value))

    assert value == DEFAULT_SERIALIZER.decoder(type_)(raw)
    assert without_annotation == DEFAULT_SERIALIZER.decoder(Any)(raw)
    assert value == convert(DEFAULT_SERIALIZER.decoder(Any)(raw), type_)


def test_times_keep_their_zone() -> None:
    """An aware datetime is a moment, with or without annotation."""
    noon = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)

    assert noon == DEFAULT_SERIALIZER.decoder(Any)(encode(noon))
    assert noon == convert(DEFAULT_SERIALIZER.decoder(Any)(encode(noon)), dt.datetime)


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (threading.Lock(), "_thread.lock is no type that can travel; pass plain data, a dataclass or a msgspec Struct"),
        ([{"a": Plain()}], "Plain is no type that can travel"),
        (lambda: None, "builtins.function is no type that can travel"),
        (2**64, "can't serialize ints < -2[*][*]63 or > 2[*][*]64 - 1"),
        ("\udc80", "surrogates not allowed"),
        (_endless(), "maximum recursion depth exceeded"),
    ],
)
def test_what_cannot_travel_is_refused(value: Any, message: str) -> None:
    """CodecError (a ValueError) names the type, and what to pass instead."""
    with pytest.raises(CodecError, match=f"cannot be encoded as msgpack: .*{message}"):
        encode(value)


@pytest.mark.parametrize(
    ("type_", "raw", "message"),
    [
        (int, encode("1"), "Expected `int`, got `str`"),
        (list[int], encode([1, "2"]), r"Expected `int`, got `str` - at `\$\[1\]`"),
        (Point, encode({"x": 1}), "Object missing required field `y`"),
        (Plain, encode(1), "Expected `Plain`, got `int`"),
        (Colour, encode("blue"), "Invalid enum value 'blue'"),
        (Any, b"", "Input data was truncated"),
        (Any, b"\xa1\x80", "codec can't decode byte 0x80"),
        (Any, b"\x91" * 100_000 + b"\xc0", "maximum recursion depth"),
    ],
)
def test_what_does_not_fit_is_refused(type_: Any, raw: bytes, message: str) -> None:
    """Strictly, and in words that have the path and what was expected; damaged bytes are no other exception."""
    with pytest.raises(CodecError, match=message):
        DEFAULT_SERIALIZER.decoder(type_)(raw)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_codec_error(raw: bytes) -> None:
    """Nothing that arrives stops a worker."""
    try:
        DEFAULT_SERIALIZER.decoder(Any)(raw)
    except CodecError:
        return
    assert raw


def test_a_number_is_no_text_and_a_text_no_number() -> None:
    """Conversion is strict: nothing is guessed."""
    for value, type_ in (("1", int), (1, str), (1, bool), (1.5, int), ([1], int)):
        with pytest.raises(CodecError, match="Expected"):
            convert(value, type_)
    assert "1.0" == repr(convert(1, float))


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("wrap", [list, dict, tuple])
def test_nesting_is_bounded(wrap: type) -> None:
    """Deeper than the limit is refused, however broad it is; a value as deep as the limit passes."""
    value: Any = 1
    for _ in range(10):
        value = {"a": value} if wrap is dict else [value] if wrap is list else (value,)
    check_depth(encode(value), value, 10)
    check_depth(encode([value] * 100), [value] * 100, 11)
    with pytest.raises(CodecError) as caught:
        check_depth(encode(value), value, 8, around=1)
    check_depth(encode(value), value, 8, around=2)

    assert "nested deeper than max_depth (8); flatten the data, or raise the setting everywhere" == str(caught.value)


def test_many_flat_lists_are_not_deep() -> None:
    """Breadth costs a walk, but is no depth; nor are bytes that look like lists."""
    broad: list[Any] = [[[]] * 1000, ["\u0091" * 1000], [b"\x91" * 1000], {str(key): {} for key in range(1000)}]
    for value in broad:
        check_depth(encode(value), value, 2)


@given(st.integers(0, 40), st.integers(1, 40))
def test_the_depth_is_told_exactly(depth: int, limit: int) -> None:
    """A value of more than *limit* containers in one another is refused, one of *limit* is not."""
    value = _nested(depth)
    try:
        check_depth(encode(value), value, limit)
    except CodecError:
        assert depth > limit
    else:
        assert depth <= limit


def test_msgpack_and_json_are_what_every_app_has() -> None:
    """A codec is found by its name in a message; msgpack is the default."""
    assert {"msgpack": MsgpackSerializer, "json": JsonSerializer} == {
        codec: type(one) for codec, one in builtin_serializers().items()
    }
    assert isinstance(DEFAULT_SERIALIZER, MsgpackSerializer)


def test_pydantic_models_are_guests() -> None:
    """Where pydantic is installed its models travel, and are validated when they arrive."""
    pydantic = pytest.importorskip("pydantic")
    model: Any = pydantic.create_model("Model", x=(int, ...), when=(dt.datetime, ...))
    noon = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
    raw = encode([model(x=1, when=noon)])

    assert [{"x": 1, "when": noon}] == DEFAULT_SERIALIZER.decoder(Any)(raw)
    assert [model(x=1, when=noon)] == DEFAULT_SERIALIZER.decoder(list[model])(raw)
    assert [model(x=1, when=noon)] == convert(DEFAULT_SERIALIZER.decoder(Any)(raw), list[model])
    with pytest.raises(CodecError, match=r"(?s)validation error for Model.*x.*valid integer"):
        convert([{"x": "one", "when": noon}], list[model])


# ---------------------------------------------------------------- JSON


@given(PLAIN_JSON)
def test_plain_json_comes_back_as_it_was(value: Any) -> None:
    """Numbers, texts, lists and mappings need no annotation."""
    assert value == JSON.decoder(Any)(JSON.encode(value))


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (b"\xff\x00", bytes),
        (dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC), dt.datetime),
        (dt.date(2024, 5, 1), dt.date),
        (decimal.Decimal("1.10"), decimal.Decimal),
        (UUID(int=7), UUID),
        (Colour.RED, Colour),
        (Point(1, [2]), Point),
        (Shape([Point(1, [])]), Shape),
        ({1, 2}, set[int]),
        ((1, "a"), tuple[int, str]),
        ({1: "a"}, dict[int, str]),
        ({UUID(int=7): {dt.date(2024, 5, 1): 1}}, dict[UUID, dict[dt.date, int]]),
    ],
)
def test_annotations_bring_back_what_json_has_no_form_for(value: Any, type_: Any) -> None:
    """From text or list to the type, whether it is decoded so or converted later."""
    raw = JSON.encode(value)

    assert value == JSON.decoder(type_)(raw)
    assert value == convert_texts(JSON.decoder(Any)(raw), type_)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": [-float("inf")]}, Point(float("nan"), [])])  # type: ignore[arg-type]
def test_json_has_no_place_for_what_is_no_number(value: Any) -> None:
    """Null would come back as None, silently."""
    with pytest.raises(CodecError, match=r"cannot be encoded as JSON: -?(nan|inf) is no number in JSON"):
        JSON.encode(value)
    assert b'["null",null]' == JSON.encode(["null", None])


@pytest.mark.parametrize("value", [Plain(), {(1, 2): 3}, "\ud800", [object()]])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """As in msgpack, with a CodecError."""
    with pytest.raises(CodecError, match="cannot be encoded as JSON"):
        JSON.encode(value)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"nan"])
def test_damaged_json_is_a_codec_error(raw: bytes) -> None:
    """However deep it is."""
    with pytest.raises(CodecError):
        JSON.decoder(Any)(raw)


@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from(["json", "unknown"]))
def test_the_depth_of_other_codecs_is_told_exactly(depth: int, limit: int, codec: str) -> None:
    """In JSON brackets are counted first; bytes of which nothing is known spare no walk."""
    value = _nested(depth)
    raw = JSON.encode(value) if codec == "json" else b""
    try:
        check_depth(raw, value, limit, codec=codec)
    except CodecError:
        assert depth > limit
    else:
        assert depth <= limit
