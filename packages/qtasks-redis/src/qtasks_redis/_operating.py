"""The part of the broker that operators use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Depth, Envelope
from qtasks_redis import _changing
from qtasks_redis._adding import one_task
from qtasks_redis._changing import Change, Step, change_each
from qtasks_redis._inspecting import Cursor, letters, places
from qtasks_redis._lua import load
from qtasks_redis._scanning import keys_of, remove, scan
from qtasks_redis._sending import RedisSender
from qtasks_redis._values import ITEM, due_of, final_value, reserve, target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import TaskRecord
    from qtasks_redis._values import Value

__all__ = ["RedisOperator"]

DEPTH, CLEAR, EVICT = load("depth"), load("clear"), load("evict")


class RedisOperator(RedisSender):
    """Look into queues and change what waits there. Parameters and errors as those of RedisBroker."""

    async def clear(self) -> None:
        """Delete all messages and dead letters of this namespace; what is held is lost, final records stay."""
        await self.ask(CLEAR)
        await remove(self.link, b"WP")
        async for uuids in scan(self.link, b"r:"):
            await change_each(self.link, uuids, self._closed)
        async for names in keys_of(self.link, b"u:"):
            await self.query(b"UNLINK", *(self.link.keys.key(b"u:" + name) for name in names))
        await self.query(b"PUBLISH", self.link.clearings, b"")

    async def depth(self, queue: str) -> Depth:
        """Count the messages of a queue."""
        return Depth(*await self.ask(DEPTH, queue.encode()))

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        """Yield what waits, in the order of taking, or what is dead, the oldest first.

        Parameters:
            queue: Its name.
            dead: Dead letters instead of what waits.
            after: The cursor to go on from.

        Yields:
            Cursor, message, and the reason why it is dead.
        """
        cursor = next(iter(places([after], dead=dead)), None)
        async for place, envelope, reason in letters(self.link, queue, dead=dead, after=cursor):
            yield str(place), envelope, reason

    async def replay(
        self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None = None
    ) -> int:
        """Send dead letters again.

        Parameters:
            queue: Its name.
            rewrite: Makes the message that is sent.
            cursors: Which; None: all.

        Returns:
            How many there were.
        """
        chosen = await self._chosen(queue, cursors, dead=True)

        def decide(number: int, value: Value | None) -> Change | int:
            return _replayed(chosen[number], value, queue, rewrite)

        return sum(await change_each(self.link, [place.uuid for place in chosen], decide))

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        """Delete what waits, or dead letters; return how many there were.

        Parameters:
            queue: Its name.
            dead: Dead letters instead of what waits.
            cursors: Which; None: all.
        """
        chosen = await self._chosen(queue, cursors, dead=dead)

        def decide(number: int, value: Value | None) -> Change | int:
            if not _is_at(chosen[number], value) or value is None or value.is_dead is not dead:
                return 0
            return self._purged(queue, value)

        return sum(await change_each(self.link, [place.uuid for place in chosen], decide))

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        """Cancel waiting tasks.

        Returns:
            For each: True: removed and recorded; False: already final; None: running or unknown.
        """
        now = self._context.clock()
        return await change_each(self.link, uuids, lambda _, value: self._cancelled(value, reason, now))

    async def evict(self, worker: str) -> int:
        """Take away what the worker of that name holds, at once; return how much that was."""
        return int(await self.link.run(EVICT, worker.encode()))

    async def _chosen(self, queue: str, cursors: Sequence[str] | None, *, dead: bool) -> list[Cursor]:
        if cursors is not None:
            return places(cursors, dead=dead)
        return [letter.cursor async for letter in letters(self.link, queue, dead=dead, after=None)]

    def _closed(self, _: int, value: Value | None) -> Change | None:
        """Leave the final record of a dead letter."""
        return None if value is None or not value.is_dead else Change([self._record_of(value)], None)

    def _purged(self, queue: str, value: Value) -> Change:
        if value.is_dead:
            return Change([self._record_of(value), _changing.unbury(queue, value.item)], 1)
        record = value.record()
        steps = [_changing.delete(), _changing.pull(target_of(queue, record.priority), value.item)]
        steps += [_changing.free(record.unique_key), _changing.gone(record.reply_to)]
        return Change(steps, 1, unless_held=True, held=0)

    def _record_of(self, value: Value) -> Step:
        """Keep of a dead letter its final record, if it has one."""
        told = value.told()
        return _changing.delete() if told is None else self._kept(value.record())

    def _kept(self, record: TaskRecord) -> Step:
        ttl_s = self._context.config.result_ttl if record.ttl_s is None else record.ttl_s
        return _changing.put(final_value(record), ttl_s) if ttl_s > 0 else _changing.delete()

    def _cancelled(self, value: Value | None, reason: str, now: float) -> Change | bool | None:
        if value is None or not (value.has_message or value.is_final):
            return None
        if value.is_final:
            return False
        record = value.record()
        record.status, record.reason, record.finished_at, record.updated_at = "cancel", reason, now, now
        target = target_of(record.queue, record.priority)
        steps = [self._kept(record), _changing.pull(target, value.item), _changing.free(record.unique_key)]
        return Change([*steps, _changing.tell(record.reply_to, final_value(record))], True, unless_held=True)


def _is_at(cursor: Cursor, value: Value | None) -> bool:
    return value is not None and value.has_message and value.item == cursor.item[:ITEM]


def _replayed(cursor: Cursor, value: Value | None, queue: str, rewrite: Callable[[Envelope], Envelope]) -> Change | int:
    if value is None or not value.is_dead or not _is_at(cursor, value):
        return 0
    envelope = rewrite(value.envelope() or Envelope(value.uuid, queue, value.envelope_data))
    told = value.told()
    kept = None if told is None or not told.extra else value.record()
    five = one_task(envelope, kept, reserve(1))
    steps = [_changing.put(five[1]), _changing.unbury(queue, value.item), (b"unstream", b"", b"", b"")]
    if envelope.unique_key is not None:
        steps.append((b"claim", envelope.unique_key.encode(), b"", b""))
    steps.append(_changing.push(target_of(envelope.queue, envelope.priority), five[0], due_of(envelope)))
    return Change(steps, 1)
