"""Operators' code in both faces, as a user writes it; checked by mypy --strict, never run. See blocking.py."""

import uuid
from collections.abc import Callable
from typing import Any, assert_type

from qtasks import QueueTasks
from qtasks.asyncio import QueueTasks as AsyncQueueTasks

app = QueueTasks(serializer="json")
aio = AsyncQueueTasks()
ID = uuid.uuid4()


class Codec:
    """A serializer of one's own."""

    codec = "own"

    def encode(self, value: object) -> bytes:
        return b""

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        return lambda raw: raw


def codecs() -> None:
    """Give the name of a codec, or an object."""
    QueueTasks(serializer=Codec())
    app.add_serializer(Codec())
    app.add_serializer("json")  # type: ignore[arg-type]
    QueueTasks(serializer=7)  # type: ignore[arg-type]
    QueueTasks(serializer=str)  # type: ignore[arg-type]


def blocking() -> None:
    """Each call waits."""
    assert_type(app.cancel(ID), bool)
    assert_type(app.cancel(ID, "why"), bool)
    assert_type(app.paused(), list[str])
    app.pause("slow")
    app.resume("slow")
    app.flush_all()
    for worker in app.ping(timeout=1):
        assert_type(worker.latency, float | None)
        assert_type((worker.name, worker.age), tuple[str, float])
    for letter in app.dead_letters.list("slow"):
        assert_type((letter.uuid, letter.task_name), tuple[uuid.UUID, str])
        assert_type((letter.args, letter.kwargs), tuple[tuple[Any, ...], dict[str, Any]])
        assert_type(letter.raw, bytes)
    assert_type(app.dead_letters.replay(), int)
    assert_type(app.dead_letters.replay("slow", uuids=[ID]), int)
    assert_type(app.dead_letters.replay(where=lambda letter: letter.attempt > 2), int)
    assert_type(app.dead_letters.purge("slow", cursors={"1"}), int)
    app.pause()  # type: ignore[call-arg]
    app.cancel("uuid")  # type: ignore[arg-type]
    app.ping("soon")  # type: ignore[arg-type]
    app.dead_letters.replay(uuids=ID)  # type: ignore[arg-type]
    app.dead_letters.purge(where=True)  # type: ignore[arg-type]


async def awaitable() -> None:
    """Each call is awaited."""
    assert_type(await aio.cancel(ID), bool)
    assert_type(await aio.paused(), list[str])
    await aio.pause("slow")
    await aio.resume("slow")
    await aio.flush_all()
    for worker in await aio.ping():
        assert_type(worker.queues, tuple[str, ...])
    async for letter in aio.dead_letters.list():
        assert_type(letter.problem, str | None)
    assert_type(await aio.dead_letters.replay(where=lambda letter: letter.attempt > 2), int)
    assert_type(await aio.dead_letters.purge(), int)
    await app.aio.pause("slow")
    await aio.dead_letters.replay(1)  # type: ignore[arg-type]
    await aio.paused("slow")  # type: ignore[call-arg]
    await aio.ping(timeout="1")  # type: ignore[arg-type]
