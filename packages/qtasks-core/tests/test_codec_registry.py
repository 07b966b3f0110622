"""Codecs: what an app writes and reads, JSON beside msgpack, and serializers of the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
from qtasks_core.codec_registry import CodecRegistry
from qtasks_core.contract import Message
from qtasks_core.errors import CodecError, ConfigError, TaskFailedError, UnknownWireError
from qtasks_core.serializers import convert_texts
from qtasks_core.signatures import Signature
from qtasks_core.wire import unpack_message
from qtasks_core.worker.arguments import ArgumentReader


class Upside:
    """JSON, turned around, so that no other codec reads it by chance."""

    codec: ClassVar[str] = "upside"
    text_keys: ClassVar[bool] = True

    def encode(self, value: object) -> bytes:
        return json.dumps(value).encode()[::-1]

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        return lambda raw: convert_texts(json.loads(raw[::-1]), type_)


class Returning:
    """Encodes everything as the same thing."""

    codec: ClassVar[str] = "same"

    def __init__(self, encoded: Any) -> None:
        self._encoded = encoded

    def encode(self, value: object) -> Any:
        return self._encoded

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        raise KeyError(type_)


# ---------------------------------------------------------------- choosing


def test_msgpack_is_written_when_nothing_is_said() -> None:
    """Without serializer= an app writes msgpack and reads json too."""
    codecs = CodecRegistry()

    assert "msgpack" == codecs.chosen.codec
    assert "json" == codecs.of("json").codec


def test_a_codec_is_chosen_by_its_name() -> None:
    """serializer="json" is the built-in one."""
    assert "json" == CodecRegistry("json").chosen.codec


def test_a_serializer_that_is_chosen_is_installed() -> None:
    """An instance is what the app writes, and reads."""
    codecs = CodecRegistry(Upside())

    assert "upside" == codecs.chosen.codec
    assert [1] == codecs.of("upside").decoder(list[int])(codecs.chosen.encode([1]))


@pytest.mark.parametrize("face", [QueueTasks, BlockingQueueTasks])
def test_a_codec_that_nobody_knows_is_refused_where_the_app_is_made(face: Any) -> None:
    """The error names those that there are."""
    with pytest.raises(ConfigError, match=r"serializer: expected 'msgpack' or 'json', or an object .* got 'yaml'"):
        face("test", "memory://", serializer="yaml")


@pytest.mark.parametrize("wrong", [3, Upside, object(), Returning])
def test_what_is_no_serializer_is_refused(wrong: Any) -> None:
    """A class, too: it may want arguments."""
    with pytest.raises(ConfigError, match="expected an object with codec, encode"):
        QueueTasks("test", "memory://", serializer=wrong)


def test_a_codec_has_one_serializer() -> None:
    """Another one under the same name would read the messages of the first; the same one twice is fine."""
    app, first = QueueTasks("test", "memory://"), Upside()
    app.add_serializer(first)
    app.add_serializer(first)

    with pytest.raises(ConfigError, match="the codec 'upside' is installed already"):
        app.add_serializer(Upside())


def test_an_unknown_codec_is_told_with_those_that_are_known() -> None:
    """Whoever reads this knows what to install."""
    with pytest.raises(UnknownWireError, match="expected one of the codecs msgpack, json, got 'morse'"):
        CodecRegistry().of("morse")


# ---------------------------------------------------------------- what a foreign serializer does wrong


@pytest.mark.parametrize(
    ("encoded", "message"),
    [("text", "cannot be encoded as same: expected bytes, got str"), (None, "expected bytes, got NoneType")],
)
def test_a_serializer_that_returns_no_bytes_is_told(encoded: Any, message: str) -> None:
    """Nothing but bytes can travel."""
    with pytest.raises(CodecError, match=message):
        CodecRegistry(Returning(encoded)).chosen.encode(1)


def test_what_a_serializer_raises_is_a_codec_error() -> None:
    """Of whatever type it is: to try again would not help; an unexpected type is told."""
    codecs = CodecRegistry(Upside())
    with pytest.raises(CodecError, match="cannot be encoded as upside: TypeError: Object of type object is not JSON"):
        codecs.chosen.encode(object())
    with pytest.raises(CodecError, match="Expecting value"):
        codecs.chosen.decoder(Any)(b"x")
    with pytest.raises(CodecError, match=r"same cannot be decoded as .*: KeyError"):
        CodecRegistry(Returning(b"")).chosen.decoder(int)


# ---------------------------------------------------------------- in an app


@pytest.mark.parametrize(("serializer", "codec"), [("json", "json"), (Upside(), "upside"), (None, "msgpack")])
async def test_arguments_results_and_yielded_values_have_the_apps_codec(
    running: Any, serializer: Any, codec: str
) -> None:
    """The message and the record name it; whatever it is, the same values come back."""
    app = QueueTasks("test", "memory://", serializer=serializer)

    @app.task
    async def double(x: dict[int, list[float]], *, more: bool = False) -> dict[int, float]:
        return {key: 2 * sum(values) + more for key, values in x.items()}

    @app.task
    async def count(n: int) -> Any:
        for i in range(n):
            yield {"i": i}

    async with running(app):
        task = await double.add_task({1: [1.0, 2.5]}, more=True)
        assert {1: 8.0} == await task.result(timeout=5)
        counted = await count.add_task(2)
        assert [{"i": 0}, {"i": 1}] == [value async for value in counted.stream()]

    assert codec == unpack_message(task.record.body).codec == task.record.codec
    assert {"more": True} == task.kwargs


async def test_a_value_that_json_has_no_place_for_is_refused_at_the_call() -> None:
    """The caller hears it, and nothing is sent."""
    app = QueueTasks("test", "memory://", serializer="json")
    async with app:
        with pytest.raises(CodecError, match="its arguments cannot be encoded as JSON: nan is no number in JSON"):
            await app.add_task("job", [float("nan")])
        assert 0 == (await app.core.engine().broker.depth("default")).ready


async def test_a_result_that_a_serializer_cannot_encode_ends_its_task_with_error(running: Any) -> None:
    """No retry, no crash loop."""
    app = QueueTasks("test", "memory://", serializer=Upside())

    @app.task(retry=3)
    async def make() -> Any:
        return {1, 2}

    async with running(app):
        with pytest.raises(TaskFailedError, match="the result of task 'make' cannot be encoded as upside") as caught:
            await make.add_task().result(timeout=5)

    assert "qtasks_core.errors.CodecError" == caught.value.type_name


@pytest.mark.parametrize("serializer", ["json", Upside()])
async def test_depth_is_bounded_in_every_codec(serializer: Any) -> None:
    """`max_depth` holds for JSON, and for codecs whose bytes tell nothing."""
    app = QueueTasks("test", "memory://", serializer=serializer)
    deep: Any = 1
    for _ in range(65):
        deep = [deep]
    async with app:
        await app.add_task("job", deep[0])
        with pytest.raises(CodecError, match="nested deeper than max_depth"):
            await app.add_task("job", deep)


def test_who_only_reads_need_not_write() -> None:
    """A codec that is installed for what others have written is asked to encode nothing."""

    class ReadOnly(Upside):
        def encode(self, value: object) -> bytes:
            raise NotImplementedError

    def join(*words: str, between: str = " ") -> str:
        return between.join(words)

    registry = CodecRegistry(None)
    registry.add(ReadOnly())
    reader = ArgumentReader(Signature(join, "join").converter(), registry.of, 100)

    assert (("a", "b"), {}) == reader.read(Message("join", b'["a", "b"]'[::-1], b"{}"[::-1], "upside"))
