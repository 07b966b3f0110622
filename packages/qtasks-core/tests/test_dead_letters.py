"""Dead letters, beyond what the kit tests on each backend: many, two operators at once, other codecs and versions."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Dead, Envelope, Message, Outcome
from qtasks_core.dead_letters import BlockingDeadLetters, DeadLetters
from qtasks_core.errors import BlockingCallError, CodecError, UnavailableError, UnknownWireError
from qtasks_core.memory import MemoryBroker, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_core.replaying import anew
from qtasks_core.wire import MAGIC, pack_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

EMPTY = (msgspec.msgpack.encode([]), msgspec.msgpack.encode({}))


async def bury(app: QueueTasks, bodies: Sequence[bytes], **fields: Any) -> list[UUID]:
    """Put dead letters into the default queue, past any worker."""
    engine = app.core.engine()
    await engine.ensure_started()
    envelopes = [Envelope(new_uuid(), "default", body, **fields) for body in bodies]
    await engine.broker.send(envelopes)
    other = MemoryBroker("memory://", app.core.new_context("undertaker"))
    await other.subscribe(["default"], "undertaker", len(bodies), lambda _: None)
    taken = await other.receive(len(bodies))
    await other.settle([Outcome(delivery, Dead("why")) for delivery in taken])
    return [envelope.uuid for envelope in envelopes]


def body(name: str = "job", **fields: Any) -> bytes:
    return pack_message(Message(name, *EMPTY, **fields))


async def test_the_property_is_of_the_face(app: QueueTasks) -> None:
    """Awaitable there, blocking here; and on a loop's thread the blocking one says what to await."""
    blocking = BlockingQueueTasks.of(app.core)
    assert isinstance(app.dead_letters, DeadLetters)
    assert isinstance(blocking.dead_letters, BlockingDeadLetters)
    with pytest.raises(BlockingCallError, match=r"await app\.aio\.dead_letters\.replay\(…\) instead"):
        blocking.dead_letters.replay()


async def test_a_message_that_begins_anew_keeps_what_it_is() -> None:
    """Attempt, crashes, delays, expiry and parking are forgotten; all else stays as it was."""
    before = Envelope(
        new_uuid(), "q", b"body", 5, 3, 10.0, 2e9, 1e9, "key", "unique", "mail", 4, 1, parked_at=1e9, created_at=1e9
    )
    expected = Envelope(
        before.uuid, "q", b"body", 5, 1, 0.0, None, None, "key", "unique", "mail", 0, 2, parked_at=None, created_at=1e9
    )

    assert expected == anew(before)


async def test_more_than_one_write_holds(app: QueueTasks) -> None:
    """Thousands are sent again in several writes, each once; what is damaged stays, wherever it stands."""
    bodies = [body() if number % 500 else b"damaged" for number in range(2500)]
    await bury(app, bodies)

    assert 2495 == await app.dead_letters.replay()
    assert [b"damaged"] * 5 == [letter.raw async for letter in app.dead_letters.list()]
    assert 2495 == (await app.core.engine().broker.depth("default")).ready
    await app.stop()


async def test_what_dies_meanwhile_is_not_sent_again_in_the_same_breath(app: QueueTasks, running: Running) -> None:
    """A task that fails at once comes back among the dead: replay() ends all the same."""

    @app.task
    async def fail() -> None:
        raise ValueError

    async with running(app, concurrency=32):
        await asyncio.gather(*[(await fail.add_task()).wait(timeout=10) for _ in range(40)])
        async with asyncio.timeout(10):
            assert 40 == await app.dead_letters.replay()


async def test_a_letter_of_a_newer_version_may_be_sent_again(app: QueueTasks) -> None:
    """It is unreadable here, but no damage: a worker of that version reads it."""
    await bury(app, [MAGIC + b"\x02\x00\x00\x00whatever"])
    (letter,) = [letter async for letter in app.dead_letters.list()]

    assert (False, "expected wire major 1, got 2") == (letter.is_damaged, letter.problem)
    with pytest.raises(UnknownWireError):
        _ = letter.kwargs
    assert 1 == await app.dead_letters.replay()
    await app.stop()


async def test_arguments_are_decoded_when_they_are_asked_for(app: QueueTasks) -> None:
    """A codec that is not here, or damaged bytes, spoil the arguments alone."""
    await bury(app, [body(codec="morse"), pack_message(Message("job", b"\xc1", b"\xc1"))])
    foreign, damaged = [letter async for letter in app.dead_letters.list()]

    assert ("job", "job", None, None) == (foreign.task_name, damaged.task_name, foreign.problem, damaged.problem)
    with pytest.raises(UnknownWireError, match="got 'morse'"):
        _ = foreign.args
    with pytest.raises(CodecError):
        _ = damaged.args
    await app.stop()


async def test_it_is_shown_in_one_line(app: QueueTasks) -> None:
    """With its name, or with the first of its bytes."""
    first, second = await bury(app, [body(), b"x" * 100])

    assert [
        f"<DeadLetter job {first}: why>",
        f"<DeadLetter b'{'x' * 32}' {second}: why>",
    ] == [repr(letter) async for letter in app.dead_letters.list()]
    await app.stop()


def test_the_blocking_face_reads_page_by_page() -> None:
    """A reader that stops in the middle leaves nothing behind; all are read where there are more than a page."""
    app = BlockingQueueTasks("test", "memory://")
    with app:
        uuids = app.core.portal.call(bury, app.aio, [body()] * 250)
        assert uuids == [letter.uuid for letter in app.dead_letters.list()]
        assert uuids[0] == next(iter(app.dead_letters.list())).uuid
        assert 2 == app.dead_letters.purge(where=lambda letter: letter.uuid in uuids[200:202])
        assert 248 == app.dead_letters.replay()


# ---------------------------------------------------------------- records on another server


@pytest.fixture
def two_servers() -> QueueTasks:
    return QueueTasks("test", "memory://", storage_url="memory://records", config=QueueConfig(send_timeout=0.5))


async def test_a_record_that_cannot_be_opened_is_opened_by_the_worker(
    two_servers: QueueTasks, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The storage was away when the letter was sent again: its run counts all the same, and what it yields."""
    app, is_open = two_servers, False

    @app.task
    async def count() -> Any:
        yield 1
        if not is_open:
            raise ValueError("closed")
        yield 2

    async def away(storage: MemoryStorage, batch: Any) -> Any:
        raise UnavailableError("no route to host")

    async with running(app):
        task = await count.add_task()
        await task.wait(timeout=5)
    is_open = True
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, "add", away)
        assert 1 == await app.dead_letters.replay()
    assert "1 tasks were sent again, but their records could not be reopened: no route to host" in caplog.text
    assert "error" == (await app.get(task.uuid)).status

    async with running(app):
        async with asyncio.timeout(5):
            while (await task.refresh()).status != "success":
                await asyncio.sleep(0.001)
        assert [1, 2] == [value async for value in task.stream()]


async def test_letters_that_are_gone_are_not_opened(
    two_servers: QueueTasks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another operator deleted one meanwhile: it must not look as if it waited for ever."""
    app = two_servers
    uuids = await bury(app, [body(), body()])
    replay = MemoryBroker.replay

    async def late(broker: MemoryBroker, queue: str, rewrite: Any, cursors: Any = None) -> int:
        def slow(envelope: Envelope) -> Envelope:
            broker.server.purge(queue, cursors[:1], dead=True)
            return rewrite(envelope)  # type: ignore[no-any-return]  # what it is given

        return await replay(broker, queue, slow, cursors)

    monkeypatch.setattr(MemoryBroker, "replay", late)
    assert 1 == await app.dead_letters.replay()

    assert [("qtasks.engine", logging.WARNING, "1 of 2 dead letters were gone already")] == caplog.record_tuples
    engine = app.core.engine()
    assert [None, None] == [await engine.get(uuid) for uuid in uuids]
    await app.stop()
