"""Where results arrive: one channel of an engine, and those who wait for what comes there.

Who adds a task says where its end is to be told, and is remembered before it is sent: no question to the server is
needed then. Who waits for a task of somebody else registers at the server, which tells at once what has ended already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from qtasks_core.errors import QTasksError, ResultExpiredError
from qtasks_redis._lua import load
from qtasks_redis._values import FINAL, Value, read_record

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence

    from qtasks_core.contract import TaskRecord
    from qtasks_redis._link import Link

__all__ = ["Mailbox"]

WATCH, UNWATCH = load("watch"), load("unwatch")
HEAD = 21  # uuid, kind, length
GONE, LOOK = b"GL"
EXPECTED = 10_000
"""Tasks whose ends are kept for a while for whoever added them."""
EXPECTED_BYTES = 4 * 1024 * 1024
AT_ONCE = 500
NEVER_HEARD = object()


class _Frame(NamedTuple):
    uuid: bytes
    kind: int
    payload: bytes


class _Clearings:
    """Hears, for a mailbox, that everything was deleted: what it waits for will never come."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def heard(self, _: bytes) -> None:
        self._mailbox.lost()
        self._mailbox.again()

    def lost(self) -> None:
        """Do nothing: the mailbox is lost too."""

    def again(self) -> None:
        """Do nothing: the mailbox looks after all."""


class Mailbox:
    """Waiters of one engine.

    Parameters:
        link: The way to the server.
        address: Name of its channel.
    """

    def __init__(self, link: Link, address: str) -> None:
        self.address = address
        self._link = link
        self._loop = asyncio.get_running_loop()
        # Its oldest is dropped with each new one: to find that in a dict is to pass all that were dropped before.
        self._expected: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._expected_bytes = 0
        self._waiting: dict[bytes, set[asyncio.Future[TaskRecord]]] = {}
        self._readers: dict[bytes, set[asyncio.Event]] = {}
        self._watched: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clearings = _Clearings(self)

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            UnavailableError: The server is away.
        """
        await self._link.listener.listen(self.address.encode(), self)
        await self._link.listener.listen(self._link.clearings, self._clearings)

    async def close(self) -> None:
        """Listen no more."""
        await self._link.listener.unlisten(self.address.encode(), self)
        await self._link.listener.unlisten(self._link.clearings, self._clearings)
        for task in self._tasks:
            task.cancel()
        self._expected.clear()
        self._expected_bytes = 0

    def expect(self, uuid: bytes) -> None:
        """Keep the end of a task that is about to be sent, until somebody asks for it."""
        expected = self._expected
        expected[uuid] = None
        if len(expected) > EXPECTED:
            self._drop(next(iter(expected)))

    def doubt(self, uuid: bytes) -> None:
        """Expect nothing of a task that was there already: its end may be long past."""
        self._drop(uuid)

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record. Errors as in Results.wait()."""
        key = uuid.bytes
        heard = self._expected.get(key, NEVER_HEARD)
        self._drop(key)
        if isinstance(heard, bytes):
            return read_record(heard)
        future: asyncio.Future[TaskRecord] = self._loop.create_future()
        self._waiting.setdefault(key, set()).add(future)
        try:
            async with asyncio.timeout(timeout_s):
                if heard is NEVER_HEARD:
                    await self._look([key])
                return await future
        finally:
            self._leave(key, future)

    @contextlib.contextmanager
    def reading(self, uuid: UUID) -> Iterator[asyncio.Event]:
        """Set the event whenever the stream of a task may have grown; watch() has to be called."""
        key, changed = uuid.bytes, asyncio.Event()
        self._readers.setdefault(key, set()).add(changed)
        try:
            yield changed
        finally:
            self._readers[key].discard(changed)
            if not self._readers[key]:
                del self._readers[key]
                self._unwatch(key)

    async def watch(self, uuid: UUID) -> None:
        """Have the server tell this mailbox of a task."""
        self._watched.add(uuid.bytes)
        await self._link.ask(WATCH, self.address, uuid.bytes)

    # ------------------------------------------------------------ what the channel brings

    def heard(self, payload: bytes) -> None:
        """Hear a message of the channel: frames, one after the other."""
        at = 0
        while at + HEAD <= len(payload):
            end = at + HEAD + int.from_bytes(payload[at + 17 : at + HEAD], "big")
            self._take(_Frame(payload[at : at + 16], payload[at + 16], payload[at + HEAD : end]))
            at = end

    def lost(self) -> None:
        """Expect nothing any more: what was said meanwhile nobody heard."""
        self._expected.clear()
        self._expected_bytes = 0

    def again(self) -> None:
        """Look after all that is waited for: the channel is heard from now on."""
        self.lost()  # what was expected since then may have ended before the channel was heard
        for events in self._readers.values():
            for changed in events:
                changed.set()
        keys = list(self._waiting) + [key for key in self._readers if key not in self._waiting]
        if keys:
            self._spawn(self._look_again(keys))

    def _take(self, frame: _Frame) -> None:
        for changed in self._readers.get(frame.uuid, ()):
            changed.set()
        futures = self._waiting.get(frame.uuid)
        if frame.kind == FINAL:
            if futures:
                self._resolve(futures, read_record(frame.payload))
            elif frame.uuid in self._expected:
                self._keep(frame.uuid, frame.payload)
        elif frame.kind == GONE:
            self._drop(frame.uuid)
            self._fail(frame.uuid)
        elif frame.kind == LOOK:
            self._drop(frame.uuid)
            if futures:
                self._spawn(self._look_again([frame.uuid]))

    def _keep(self, uuid: bytes, payload: bytes) -> None:
        self._expected[uuid] = payload
        self._expected_bytes += len(payload)
        while self._expected_bytes > EXPECTED_BYTES:
            self._drop(next(key for key, kept in self._expected.items() if kept is not None))

    def _drop(self, uuid: bytes) -> None:
        kept = self._expected.pop(uuid, None)
        if kept is not None:
            self._expected_bytes -= len(kept)

    # ------------------------------------------------------------ asking the server

    async def _look(self, keys: Sequence[bytes]) -> None:
        """Register for tasks, and hear at once of what has ended or is not known."""
        self._watched.update(keys)
        values = await self._link.ask(WATCH, self.address, *keys)
        for key, data in zip(keys, values, strict=True):
            if data is None:
                self._fail(key)
                continue
            value = Value(UUID(bytes=key), data)
            if value.is_final:
                self._resolve(self._waiting.get(key, ()), value.record())
                self._watched.discard(key)

    async def _look_again(self, keys: Sequence[bytes]) -> None:
        while True:
            try:
                for start in range(0, len(keys), AT_ONCE):
                    await self._look(keys[start : start + AT_ONCE])
            except QTasksError:
                await asyncio.sleep(0.5)  # who waits must not hear of it: the end may come yet
            else:
                return

    def _resolve(self, futures: Iterable[asyncio.Future[TaskRecord]], record: TaskRecord) -> None:
        for future in futures:
            if not future.done():
                future.set_result(record)

    def _fail(self, key: bytes) -> None:
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_exception(ResultExpiredError("nothing is known of this task, or not any more"))

    def _leave(self, key: bytes, future: asyncio.Future[TaskRecord]) -> None:
        futures = self._waiting[key]
        futures.discard(future)
        if future.done() and not future.cancelled() and future.exception() is None:
            self._watched.discard(key)
        if not futures:
            del self._waiting[key]
            self._unwatch(key)

    def _unwatch(self, key: bytes) -> None:
        if key in self._watched and key not in self._waiting and key not in self._readers:
            self._watched.discard(key)
            self._spawn(self._tell_unwatched(key))

    async def _tell_unwatched(self, key: bytes) -> None:
        with contextlib.suppress(QTasksError):
            await self._link.ask(UNWATCH, self.address, key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
