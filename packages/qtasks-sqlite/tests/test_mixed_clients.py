"""Apps of one name on one file that write in different codecs: each reads what the others write, where it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import CodecError
from qtasks_core.serializers import convert
from qtasks_testing.polling import eventually


class Upside:
    """JSON, turned around."""

    codec: ClassVar[str] = "upside"

    def encode(self, value: object) -> bytes:
        return json.dumps(value).encode()[::-1]

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        return lambda raw: convert(json.loads(raw[::-1]), type_)


UPSIDE = Upside()


def _app(url: str, serializer: Any = None) -> QueueTasks:
    app = QueueTasks("mixed", url, serializer=serializer, config=QueueConfig(park_delay=0.02))

    @app.task
    async def join(words: list[str], between: str = " ") -> list[str]:
        return [between.join(words)]

    @app.task
    async def count(n: int) -> Any:
        for i in range(n):
            yield i

    return app


async def _is_parked(app: QueueTasks) -> bool:
    return (await app.core.engine().broker.depth("default")).delayed == 1


async def _waits(app: QueueTasks, uuid: UUID) -> bool:
    return (await app.get(uuid)).status == "new"  # but for the moments in which a worker looks at it again


@pytest.mark.parametrize("workers", [None, "json", UPSIDE])
async def test_clients_of_all_codecs_share_a_worker(url: str, running: Any, workers: Any) -> None:
    """Whatever a client writes the worker reads, and the other way round; each message names its codec."""
    worker = _app(url, workers)
    clients = [_app(url, serializer) for serializer in (None, "json", UPSIDE)]
    for app in (worker, *clients):
        app.add_serializer(UPSIDE)
    async with running(worker):
        for client in clients:
            async with client:
                task = await client.add_task("join", ["a", "b"], between="-")
                assert ["a-b"] == await task.result(timeout=10)
                assert worker.core.codecs.chosen.codec == task.record.codec
                counted = await client.add_task("count", 3)
                assert [0, 1, 2] == [value async for value in counted.stream()]


async def test_a_message_in_a_codec_that_no_worker_has_waits_for_one_that_has(url: str, running: Any) -> None:
    """It is parked like an unknown task name: other tasks go on, and it is lost by nobody."""
    client, old, new = _app(url, UPSIDE), _app(url), _app(url, "json")
    new.add_serializer(UPSIDE)
    async with client:
        waiting = await client.add_task("join", ["a", "b"])
        async with running(old):
            await eventually(partial(_is_parked, old))
            other = await old.add_task("join", ["c"])
            assert ["c"] == await other.result(timeout=10)
            await eventually(partial(_waits, client, waiting.uuid))
        async with running(new):
            assert ["a b"] == await waiting.result(timeout=10)


async def test_a_result_in_a_codec_that_the_client_has_not_is_told(url: str, running: Any) -> None:
    """The task succeeded; who cannot read its result learns which codec is missing."""
    worker, client = _app(url, UPSIDE), _app(url)
    async with running(worker), client:
        task = await client.add_task("join", ["a"])
        with pytest.raises(CodecError, match="expected one of the codecs msgpack, json, got 'upside'"):
            await task.result(timeout=10)

    assert "success" == task.status
