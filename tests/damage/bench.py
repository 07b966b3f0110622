"""An app, workers of it on the test's own loop, and a back door into its queue."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qtasks.asyncio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Envelope, Inspectable, Message
from qtasks_core.naming import new_uuid
from qtasks_core.wire import pack_message
from qtasks_core.worker.worker import DefaultWorker
from qtasks_sqlite import SqliteBroker
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from qtasks_core.contract import Broker, Depth, TaskRecord
    from qtasks_sqlite._database import Database

__all__ = ["NO_ARGUMENTS", "Bench", "body_of", "damage_file", "set_row"]

QUEUE = "default"
PATIENCE_S = 20.0
NO_ARGUMENTS = (msgspec.msgpack.encode([]), msgspec.msgpack.encode({}))


class Bench:
    """One app. The task `innocent` is registered; it doubles its argument.

    Parameters:
        url: The broker's, storage's and global config's.
        settings: Of QueueConfig, beside short waits.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.app = QueueTasks("damage", url, config=QueueConfig(**{"park_delay": 0.02, **settings}))
        self.runs: list[Any] = []
        self._innocent = self.app.task(name="innocent")(self._double)

    @property
    def broker(self) -> Broker:
        """The running loop's broker."""
        return self.app.core.engine().broker

    @contextlib.asynccontextmanager
    async def worker(
        self, name: str = "worker", *, concurrency: int = 4, patience_s: float = 5.0, unwritten: int = 0
    ) -> AsyncIterator[DefaultWorker]:
        """Run a worker; at the end it is drained, and has written everything but *unwritten* outcomes."""
        engine = self.app.core.new_engine(name)
        await engine.start(control=True)
        worker = DefaultWorker(self.app.core, engine, name=name, queues=(QUEUE,), concurrency=concurrency)
        await worker.start()
        try:
            yield worker
        finally:
            drained = await worker.drain(patience_s)
            await worker.stop()
            await engine.stop()
            await self.app.stop()
        assert drained
        assert unwritten == worker.unwritten

    async def inject(self, body: bytes, **fields: Any) -> UUID:
        """Put an envelope on the queue that no client of this version would make."""
        [uuid] = await self.inject_many([body], **fields)
        return uuid

    async def inject_many(self, bodies: list[bytes], **fields: Any) -> list[UUID]:
        """Put several on the queue, in one batch."""
        envelopes = [Envelope(new_uuid(), QUEUE, body, **fields) for body in bodies]
        await self.app.core.engine().ensure_started()
        assert [None] * len(bodies) == list(await self.broker.send(envelopes))
        return [envelope.uuid for envelope in envelopes]

    async def end_of(self, uuid: UUID) -> TaskRecord:
        """Wait for the end of a task and return its record."""
        return await self.app.core.engine().wait(uuid, PATIENCE_S)

    async def letters(self) -> dict[UUID, tuple[bytes, str]]:
        """Return body and reason of each dead letter."""
        assert isinstance(self.broker, Inspectable)
        return {envelope.uuid: (envelope.body, reason) async for _, envelope, reason in self.broker.peek(QUEUE, True)}

    async def depth(self) -> Depth:
        """Count what is in the queue."""
        return await self.broker.depth(QUEUE)

    async def is_settled(self) -> None:
        """Wait until nothing is ready or running any more; an innocent task, added last, has succeeded by then."""
        assert 14 == await self._innocent.add_task(7).result(timeout=PATIENCE_S)

        async def nothing_is_held() -> bool:
            depth = await self.depth()
            return (0, 0) == (depth.ready, depth.running)

        await eventually(nothing_is_held, PATIENCE_S, "everything settled")

    @property
    def database(self) -> Database:
        """What the components of SQLite share."""
        broker = self.broker
        assert isinstance(broker, SqliteBroker)
        return broker._database

    @property
    def path(self) -> Path:
        """The file of a SQLite URL."""
        return Path(self.url.removeprefix("sqlite:///"))

    async def _double(self, number: int) -> int:
        return number * 2


def body_of(task_name: str, *args: Any, codec: str = "msgpack", **kwargs: Any) -> bytes:
    """Return a body as a client of this version writes it."""
    return pack_message(Message(task_name, msgspec.msgpack.encode(args), msgspec.msgpack.encode(kwargs), codec))


def set_row(path: Path, uuid: UUID, data: bytes) -> None:
    """Overwrite all that a SQLite file has of a message, with a connection of the test's own."""
    with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection, connection:
        assert 1 == connection.execute("UPDATE tasks SET data = ? WHERE uuid = ?", (data, uuid.bytes)).rowcount


def damage_file(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
