"""The frame of bodies: what is written, what newer versions may add, and what damaged bytes do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.contract import Message
from qtasks_core.errors import UnknownWireError, WireError
from qtasks_core.wire import (
    RemoteError,
    frame,
    pack_error,
    pack_message,
    pack_value,
    unframe,
    unpack_error,
    unpack_message,
    unpack_value,
)

PREAMBLE = b"\xc1Q\x01\x00\x00\x00"
ID = UUID("0190a2b3-0000-7000-8000-000000000001")
encode = msgspec.msgpack.encode


def test_a_body_begins_with_the_preamble() -> None:
    """Magic, major, minor, flags, key id: what servers hold today is read by later versions."""
    assert PREAMBLE == frame(b"")
    assert PREAMBLE + b"x" == frame(b"x")
    assert b"x" == bytes(unframe(frame(b"x")))


def test_the_bytes_of_a_message_do_not_change() -> None:
    """A message of this version, byte by byte: workers of other releases read it."""
    raw = pack_message(Message("add", b"\x92\x01\x02", b"\x80", headers={"a": "b"}))

    assert (
        PREAMBLE + encode(["add", b"\x92\x01\x02", b"\x80", "msgpack", None, None, None, None, {"a": "b"}, None]) == raw
    )


def test_a_message_comes_back_as_it_was() -> None:
    """Every field survives."""
    message = Message("add", b"a", b"k", "json", 1.5, 0.0, ID, ID, {"traceparent": "00-x"}, 3)

    assert message == unpack_message(pack_message(message))


@given(
    st.builds(
        Message,
        task_name=st.text(),
        args=st.binary(),
        kwargs=st.binary(),
        codec=st.text(),
        timeout_s=st.none() | st.floats(allow_nan=False),
        result_ttl_s=st.none() | st.floats(allow_nan=False),
        parent=st.none() | st.uuids(),
        root=st.none() | st.uuids(),
        headers=st.dictionaries(st.text(), st.text()),
        retry=st.none() | st.integers(0, 1000),
    )
)
def test_any_message_comes_back_as_it_was(message: Message) -> None:
    """Names and headers of any characters, any sizes."""
    assert message == unpack_message(pack_message(message))


def test_fields_that_a_newer_version_appended_are_skipped() -> None:
    """A newer minor is read, and so are older ones that had fewer fields."""
    newer = b"\xc1Q\x01\x07\x00\x00" + encode(["add", b"", b"", "msgpack", 1.0, None, None, None, {}, None, "new", [1]])
    older = PREAMBLE + encode(["add", b"", b""])

    assert Message("add", b"", b"", timeout_s=1.0) == unpack_message(newer)
    assert Message("add", b"", b"") == unpack_message(older)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xc1Q\x02\x00\x00\x00", "expected wire major 1, got 2"),
        (b"\xc1Q\x01\x00\x81\x00", "expected no flags, got 0x81: signed, compressed or encrypted elsewhere"),
    ],
)
def test_what_only_another_version_can_read_is_told_apart(raw: bytes, message: str) -> None:
    """It is parked for workers that can, not dead-lettered as damaged."""
    with pytest.raises(UnknownWireError, match=message):
        unpack_message(raw + pack_message(Message("add", b"", b""))[6:])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected a body that begins with c151, got nothing"),
        (b"\xc1Q\x01", "expected a body that begins with c151, got c15101"),
        (b'{"task": "add"}', "expected a body that begins with c151, got 7b227461736b"),
        (PREAMBLE, "the body is damaged: Input data was truncated"),
        (PREAMBLE + encode([1, b"", b""]), "the body is damaged: Expected `str`, got `int`"),
        (PREAMBLE + encode(["add"]), "the body is damaged: Expected `array` of at least length 3"),
        (PREAMBLE + b"\x93\xa1\x80\xc4\x00\xc4\x00", "the body is damaged: 'utf-8' codec can't decode byte 0x80"),
        (PREAMBLE + encode({"task": "add"}), "the body is damaged: Expected `array`, got `object`"),
    ],
)
def test_a_damaged_or_foreign_body_is_a_wire_error(raw: bytes, message: str) -> None:
    """With the bytes that were there instead; never another exception."""
    with pytest.raises(WireError, match=message) as caught:
        unpack_message(raw)

    assert WireError is type(caught.value)


DEEP = b"\x91" * 100_000 + b"\xc0"


def test_a_body_that_is_nested_without_end_is_damaged() -> None:
    """Also in a field that this version would skip: a worker's stack is not the sender's."""
    with pytest.raises(WireError, match="the body is damaged: maximum recursion depth"):
        unpack_message(PREAMBLE + b"\x9b\xa0\xc4\x00\xc4\x00\xa0\xc0\xc0\xc0\xc0\x80\xc0" + DEEP)

    assert "is damaged: maximum recursion depth" in unpack_error(b"\x94\xa0\xa0\xa0" + DEEP).message


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_message_or_a_wire_error(raw: bytes, framed: bool) -> None:
    """Nothing that arrives stops a worker."""
    try:
        message = unpack_message(frame(raw) if framed else raw)
    except WireError:
        return
    assert isinstance(message, Message)


@given(st.data(), st.integers(0, 2))
def test_a_truncated_or_altered_body_is_a_message_or_a_wire_error(data: st.DataObject, how: int) -> None:
    """One byte changed, lost or added in a good body."""
    raw = bytearray(pack_message(Message("add", b"\x91\x01", b"\x80", timeout_s=2.0, parent=ID)))
    place = data.draw(st.integers(0, len(raw) - 1))
    if how == 0:
        raw[place] = data.draw(st.integers(0, 255))
    elif how == 1:
        del raw[place:]
    else:
        raw.insert(place, data.draw(st.integers(0, 255)))
    try:
        message = unpack_message(bytes(raw))
    except WireError:
        return
    assert isinstance(message, Message)


def test_an_error_comes_back_as_it_was() -> None:
    """Class name, message and traceback, as words."""
    error = RemoteError("builtins.ValueError", "no", "Traceback ...")

    assert error == unpack_error(pack_error(error))


def test_a_newer_error_with_more_fields_is_read() -> None:
    """As with messages: fields are only ever appended."""
    assert RemoteError("a", "b", "c") == unpack_error(encode(["a", "b", "c", {"new": 1}]))


def test_a_long_traceback_loses_its_middle() -> None:
    """The beginning says how the task was called, the end what happened; the size is bounded."""
    text = "first line\n" + "x" * 1_000_000 + "\nlast line"
    error = unpack_error(pack_error(RemoteError("E", text, text)))

    for part in (error.message, error.traceback):
        assert part.startswith("first line\n")
        assert part.endswith("\nlast line")
        assert "[... 934,485 characters ...]".replace(",", "") in part
        assert len(part) < 70_000


def test_characters_that_cannot_be_encoded_are_shown_escaped() -> None:
    """A lone surrogate in a message, as from a file name, does not lose the error."""
    error = unpack_error(pack_error(RemoteError("E\udc80", "no \udcff", "at \udc00")))

    assert RemoteError("E\\udc80", "no \\udcff", "at \\udc00") == error


@pytest.mark.parametrize("raw", [b"", b"\x93\xa0", encode([1, 2, 3]), encode("text")])
def test_a_damaged_error_says_so(raw: bytes) -> None:
    """`result()` still raises TaskFailedError, not a decoding error."""
    error = unpack_error(raw)

    assert "qtasks.WireError" == error.type_name
    assert error.message.startswith("the error's own record is damaged: ")


@given(st.binary(max_size=30))
def test_any_bytes_are_an_error(raw: bytes) -> None:
    """unpack_error never raises."""
    found: Any = unpack_error(raw)
    assert isinstance(found, RemoteError)


def test_a_yielded_value_names_its_codec() -> None:
    """Bare msgpack, which never begins as a frame does; of another codec its name is before it."""
    for codec, raw, stored in (
        ("msgpack", b"\x01", b"\x01"),
        ("json", b"[1]", PREAMBLE + b"\x92\xa4json\xc4\x03[1]"),
    ):
        assert stored == pack_value(codec, raw)
        assert (codec, raw) == unpack_value(stored)


@pytest.mark.parametrize("stored", [PREAMBLE, PREAMBLE + b"\x92\xa4json", b"\xc1Q"])
def test_a_damaged_value_is_a_wire_error(stored: bytes) -> None:
    """Whoever reads the stream is told."""
    with pytest.raises(WireError):
        unpack_value(stored)
