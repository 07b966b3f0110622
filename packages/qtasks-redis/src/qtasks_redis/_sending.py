"""The half of the broker that clients need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.contract import FINAL, Limits
from qtasks_core.errors import AlreadyExists
from qtasks_redis import _adding, _changing
from qtasks_redis._changing import Change, change_each
from qtasks_redis._component import RedisComponent
from qtasks_redis._values import due_of, reserve, target_of
from qtasks_redis.storage import RedisStorage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from qtasks_core.contract import ComponentContext, Envelope, PerItem, Results, TaskRecord
    from qtasks_redis._adding import Addition
    from qtasks_redis._values import Value

__all__ = ["MESSAGE_BYTES", "RedisSender"]

MESSAGE_BYTES = 512 * 1024 * 1024  # Redis' limit for a string
BATCH = 1000
STAGED_S = 60


class RedisSender(RedisComponent):
    """Put messages onto the server. Parameters and errors as those of RedisBroker."""

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.limits = Limits(message_bytes=min(context.config.max_message_bytes, MESSAGE_BYTES), batch=BATCH)
        self._targets: dict[tuple[str, int], bytes] = {}

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Return when each message is safe, or refused."""
        return await self._add([(None, envelope) for envelope in batch])

    def fuses(self, storage: Results) -> bool:
        """Tell whether that storage is on the same server, in the same namespace."""
        return isinstance(storage, RedisStorage) and storage.home is self.home

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        """Put records and messages in, both of an item under one key."""
        self._expect(batch)
        try:
            answers = await self._add(batch)
        except BaseException:
            self._doubt(batch)
            raise
        self._doubt([item for item, answer in zip(batch, answers, strict=True) if answer is not None])
        return answers

    def _expect(self, batch: Sequence[Addition]) -> None:
        """Tell the mailboxes before anything is sent: an end may come quicker than the answer."""
        mailboxes = self.home.mailboxes
        for _, envelope in batch:
            if envelope.reply_to in mailboxes:
                mailboxes[envelope.reply_to].expect(envelope.uuid.bytes)

    def _doubt(self, batch: Sequence[Addition]) -> None:
        for _, envelope in batch:
            if envelope.reply_to in self.home.mailboxes:
                self.home.mailboxes[envelope.reply_to].doubt(envelope.uuid.bytes)

    def _stage(self, staged: Sequence[tuple[bytes, bytes]]) -> list[asyncio.Future[Any] | None]:
        """Send large values ahead of the script that takes them over."""
        put, key = self.link.put_before, self.link.keys.key
        return [put(b"SET", key(b"b:" + name), value, b"EX", STAGED_S) for name, value in staged]

    async def _add(self, batch: Sequence[Addition]) -> list[Exception | None]:
        answers: list[Exception | None] = []
        for start in range(0, len(batch), BATCH):
            answers += await self._add_part(batch[start : start + BATCH])
        return answers

    async def _add_part(self, batch: Sequence[Addition]) -> list[Exception | None]:
        packed = _adding.pack(batch, self.limits.message_bytes, self._targets)
        if not packed.items:
            return _adding.merge(packed, ())
        staged = self._stage(packed.staged)
        reply = await self.link.run(_adding.ADD, self.link.movers, *packed.args)
        answers = _adding.merge(packed, reply, self.link.fault_of(staged))
        return await self._look_at_those_there(batch, answers) if reply else answers

    async def _look_at_those_there(
        self, batch: Sequence[Addition], answers: list[Exception | None]
    ) -> list[Exception | None]:
        """Send again what is there as a record alone, or has ended and counts fewer replays."""
        places = [place for place, answer in enumerate(answers) if _is_own(batch[place][1], answer)]
        done = await change_each(
            self.link,
            [batch[place][1].uuid for place in places],
            lambda number, value: _reopened(batch[places[number]], value),
        )
        for place, answer in zip(places, done, strict=True):
            answers[place] = answer
        return answers


def _is_own(envelope: Envelope, answer: Exception | None) -> bool:
    return isinstance(answer, AlreadyExists) and answer.uuid == envelope.uuid


def _reopened(item: Addition, value: Value | None) -> Change | AlreadyExists:
    record, envelope = item
    there = None if value is None else value.record()
    is_replay = there is not None and envelope.replays > there.replays
    if value is not None and (value.has_message or value.is_final) and not is_replay:
        return AlreadyExists(envelope.uuid)
    kept = there if record is None and there is not None and there.status not in FINAL else record
    five = _adding.one_task(envelope, kept, reserve(1))
    steps = [_changing.put(five[1])]
    if value is not None and value.is_dead:
        steps.append(_changing.unbury(envelope.queue, value.item))
    elif value is not None and value.has_message and (before := value.envelope()) is not None:
        steps.append(_changing.pull(target_of(before.queue, before.priority), value.item))
    if is_replay:
        steps.append((b"unstream", b"", b"", b""))
    if five[3]:
        steps.append((b"claim", five[3], five[4], b""))
    steps.append(_changing.push(target_of(envelope.queue, envelope.priority), five[0], due_of(envelope)))
    return Change(steps, None, unless_held=True, held=AlreadyExists(envelope.uuid))
