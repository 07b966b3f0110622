"""The storage: records of tasks, in the same keys as their messages where the broker shares the server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from qtasks_core.contract import FINAL, Capability, TaskRecord
from qtasks_core.errors import AlreadyExists, AlreadyFinal, ResultExpiredError, UnavailableError
from qtasks_core.forks import after_fork
from qtasks_redis import _changing, _streams
from qtasks_redis._adding import ADD, unique_ttl
from qtasks_redis._changing import Change, Step, change_each
from qtasks_redis._component import RedisComponent
from qtasks_redis._mailbox import Mailbox
from qtasks_redis._scanning import remove, scan
from qtasks_redis._values import Value, encode, final_value, target_of, waiting_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from qtasks_core.contract import ComponentContext, Event, PerItem, Status

__all__ = ["RedisStorage"]

AT_ONCE = 500


class RedisStorage(RedisComponent):
    """Keep records on one Redis server, and have their ends pushed to those who wait.

    Parameters:
        url: See docs/brokers/redis.md.
        context: The app's.

    Raises:
        ConfigError: The URL has another form.
    """

    capabilities: ClassVar[Capability] = Capability.UNIQUE

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self._mailbox: Mailbox | None = None
        self._rename()
        after_fork(self, RedisStorage._rename)

    async def on_start(self) -> None:
        """Listen to the mailbox."""
        self._mailbox = mailbox = Mailbox(self.link, str(self.address))
        self.home.mailboxes[mailbox.address] = mailbox
        await mailbox.open()

    async def on_stop(self) -> None:
        """Listen no more."""
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            self.home.mailboxes.pop(mailbox.address, None)
            await mailbox.close()

    @property
    def mailbox(self) -> Mailbox:
        """Those who wait.

        Raises:
            UnavailableError: start() comes first.
        """
        if self._mailbox is None:
            raise UnavailableError("the storage is not started")
        return self._mailbox

    def _rename(self) -> None:
        """Take a mailbox of its own; a forked child does so again."""
        name = f"m:{self._context.config.client_id or ''}{secrets.token_hex(8)}"
        self.address: str | None = self.home.keys.channel(name).decode()

    async def clear(self) -> None:
        """Delete all records of this namespace; a message that waits, runs or is dead stays."""
        await remove(self.link, b"SF")
        await self.query(b"DEL", self.link.keys.key("w"))
        async for uuids in scan(self.link, b"e:"):
            await self.query(b"UNLINK", *(self.link.keys.key(b"e:" + uuid.bytes) for uuid in uuids))

        def strip(_: int, value: Value | None) -> Change | None:
            if value is None or not value.is_dead or value.told() is None:
                return None
            return Change([_changing.put(value.buried(value.reason, None))], None)

        async for uuids in scan(self.link, b"r:"):
            await change_each(self.link, uuids, strip)
        await self.query(b"PUBLISH", self.link.clearings, b"")

    # ------------------------------------------------------------ writing

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Insert records where there are none."""
        answers: list[Exception | None] = []
        for start in range(0, len(batch), AT_ONCE):
            answers += await self._add(batch[start : start + AT_ONCE])
        return answers

    async def _add(self, batch: Sequence[TaskRecord]) -> list[Exception | None]:
        args: list[bytes | int] = [b"s", b"", len(batch)]
        for record in batch:
            item = record.uuid.bytes + bytes(6)
            args += (item, _record_value(record), b"", (record.unique_key or "").encode(), unique_ttl(record))
        reply = await self.link.run(ADD, self.link.movers, *args)
        answers: list[Exception | None] = [None] * len(batch)
        for at in range(0, len(reply), 2):
            answers[reply[at]] = AlreadyExists(UUID(bytes=reply[at + 1]))
        again = [place for place, answer in enumerate(answers) if answer is not None and batch[place].replays]
        if again:
            done = await change_each(
                self.link, [batch[place].uuid for place in again], lambda n, value: _reopened(batch[again[n]], value)
            )
            for place, answer in zip(again, done, strict=True):
                answers[place] = answer
        return answers

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Write final or retry records and wake who waits for them."""
        ttl = self._context.config.result_ttl
        uuids = [record.uuid for record in batch]
        return await change_each(self.link, uuids, lambda place, value: _finished(batch[place], value, ttl))

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        """Write status process; return, for each, the record that is final already."""
        uuids = [record.uuid for record in batch]
        return await change_each(self.link, uuids, lambda place, value: _marked(batch[place], value))

    async def append(self, batch: Sequence[Event]) -> PerItem:
        """Add to the streams of tasks."""
        if batch:
            await self.link.run(_streams.APPEND, *_streams.pack(batch, self._context.config.result_ttl))
        return [None] * len(batch)

    async def delete(self, uuids: Sequence[UUID]) -> int:
        """Remove tasks, whatever their status; return how many were there."""
        return sum(await change_each(self.link, uuids, _deleted))

    # ------------------------------------------------------------ reading

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        """Return the records, None for what is not known."""
        return [None if value is None else value.record() for value in await _changing.read(self.link, uuids)]

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        """Yield records, in no order.

        Parameters:
            status: Of this one only.
            task_name: Of this task only.
        """
        async for uuids in scan(self.link, b"r:"):
            for record in await self.get(uuids):
                if record is not None and status in {None, record.status} and task_name in {None, record.task_name}:
                    yield record

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record.

        Parameters:
            uuid: The task.
            timeout_s: Seconds; None: no limit.

        Raises:
            TimeoutError: The time is over.
            ResultExpiredError: Nothing is known of the task.
        """
        return await self.mailbox.wait(uuid, timeout_s)

    async def events(self, uuid: UUID, after: tuple[tuple[int, int, float], int] | None = None) -> AsyncIterator[Event]:
        """Yield the events of a task until its record is final.

        Parameters:
            uuid: The task.
            after: The last place that was read.

        Raises:
            ResultExpiredError: Nothing is known of the task.
        """
        place, last_id = after or _streams.START, b""
        with self.mailbox.reading(uuid) as changed:
            await self.mailbox.watch(uuid)
            while True:
                changed.clear()
                events, last_id, ended = await _streams.read(self.link, uuid, last_id)
                for event in events:
                    if (event.run, event.seq) > place:
                        yield event
                        place = (event.run, event.seq)
                if ended:
                    return
                if ended is None and not events:
                    raise ResultExpiredError("nothing is known of this task, or not any more")
                if not events:
                    await changed.wait()


def _record_value(record: TaskRecord) -> bytes:
    return final_value(record) if record.status in FINAL else b"S" + encode(record)


def _reopened(record: TaskRecord, value: Value | None) -> Change | AlreadyExists:
    """Add over a final record that counts fewer replays."""
    if value is not None and (not value.is_final or value.is_dead or value.record().replays >= record.replays):
        return AlreadyExists(record.uuid)
    steps = [_changing.put(_record_value(record)), (b"unstream", b"", b"", b"")]
    if record.unique_key is not None:
        steps.append((b"claim", record.unique_key.encode(), unique_ttl(record), b""))
    return Change(steps, None)


def _finished(record: TaskRecord, value: Value | None, result_ttl: float) -> Change | AlreadyFinal:
    is_final = record.status in FINAL
    if value is not None and value.is_final and record.replays <= value.record().replays:
        return AlreadyFinal("an earlier final record stays")
    if not is_final:
        return Change([_changing.put(_retry_value(record, value))], None)
    ttl = result_ttl if record.ttl_s is None else record.ttl_s
    before = None if value is None else value.record()
    steps: list[Step] = [_changing.put(final_value(record), ttl) if ttl > 0 else _changing.delete()]
    if value is not None:
        steps += _out_of_queue(value)
    steps.append(_changing.free(record.unique_key or (None if before is None else before.unique_key)))
    mailbox = record.reply_to or (None if before is None else before.reply_to)
    steps.append(_changing.tell(mailbox, final_value(record)))
    return Change(steps, None)


def _retry_value(record: TaskRecord, value: Value | None) -> bytes:
    if value is None or not value.has_message or value.is_dead:
        return _record_value(record)
    return waiting_value(value.envelope_data, value.generation, record)


def _marked(record: TaskRecord, value: Value | None) -> Change | TaskRecord | None:
    if value is None:
        return Change([_changing.put(_record_value(record))], None)
    there = value.record()
    if value.is_dead or (value.is_final and record.replays <= there.replays):
        return there
    if (record.replays, record.attempt) < (there.replays, there.attempt):
        return None
    if value.has_message:
        return Change([_changing.put(value.running(record))], None)
    steps = [_changing.put(_record_value(record))]
    if record.replays > there.replays:
        begun = record.updated_at if record.started_at is None else record.started_at
        steps.append((b"unstream", repr(begun).encode(), b"", b""))
    return Change(steps, None)


def _deleted(_: int, value: Value | None) -> Change | int:
    if value is None:
        return 0
    record = value.record()
    steps = [_changing.delete(), *_out_of_queue(value), (b"unstream", b"", b"", b"")]
    return Change([*steps, _changing.free(record.unique_key), _changing.gone(record.reply_to)], 1)


def _out_of_queue(value: Value) -> list[Step]:
    """Take a message out of wherever it waits."""
    envelope = value.envelope()
    if envelope is None:
        return []
    if value.is_dead:
        return [_changing.unbury(envelope.queue, value.item)]
    return [_changing.pull(target_of(envelope.queue, envelope.priority), value.item)]
