"""Broken copies of memory://: each does one thing wrong, and the kit has to see it.

The first ten are those that the kit was made to find; the others keep it honest where it is easy to forget something.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from msgspec.structs import replace

from qtasks_core.contract import Ack, Outcome, Release
from qtasks_core.errors import AlreadyExists, RefusedError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from uuid import UUID

    from qtasks_core.contract import Delivery, Envelope, PerItem, TaskRecord, Versioned

__all__ = ["MUTANTS", "Mutant"]


class LosesOnCrash(MemoryBroker):
    async def evict(self, worker: str) -> int:
        session = self.server.exchange._sessions.get(worker)
        held = [task.delivery for task in session.held.values()] if session is not None else []
        await super().settle([Outcome(delivery, Ack()) for delivery in held])
        return len(held)


class AcksEarly(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        await super().settle([Outcome(delivery, Ack()) for delivery in got])
        return got

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().settle(batch)
        return [None] * len(batch)


class IgnoresLimit(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return await super().receive(limit * 10, per_queue)


class DropsOneOfABatch(MemoryBroker):
    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        kept = batch[:-1] if len(batch) > 1 else batch
        return [*await super().send(kept), *[None] * (len(batch) - len(kept))]


class FailsABatchForOneItem(MemoryBroker):
    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        if any(len(envelope.body) > self.limits.message_bytes for envelope in batch):
            return [RefusedError("a message is too large") for _ in batch]
        return await super().send(batch)


class WrongOrder(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(1000, per_queue)
        await super().settle([Outcome(delivery, Release()) for delivery in got[:-limit]])
        return got[-limit:]


class NoFencing(MemoryBroker):
    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().settle([self._whoever_has_it(outcome) for outcome in batch])

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().finish_and_settle([self._whoever_has_it(outcome) for outcome in batch])

    def _whoever_has_it(self, outcome: Outcome) -> Outcome:
        assert outcome.delivery.envelope is not None
        task = self.server.ledger.tasks.get(outcome.delivery.envelope.uuid)
        if task is None or task.where != "lent":
            return outcome
        return replace(outcome, delivery=task.delivery)


class RepeatsResults(MemoryStorage):
    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        for record in batch:
            task = self.server.ledger.tasks.get(record.uuid)
            if task is not None and task.final:
                self.server.ledger.erase(task)
        return await super().finish(batch)


class StrandsOnCancel(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        await asyncio.sleep(0)
        return got


class WakesNobody(MemoryStorage):
    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        for record in batch:
            self.server.ledger.open(record.uuid).waiters = None
        return await super().finish(batch)


# ---------------------------------------------------------------- more of them


class WakesNoReceiver(MemoryBroker):
    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        idle, self.server.exchange._idle = self.server.exchange._idle, {}
        answers = await super().send(batch)
        self.server.exchange._idle = idle
        return answers


class DeliversEarly(MemoryBroker):
    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        return await super().send([replace(envelope, delay_s=envelope.delay_s / 4) for envelope in batch])


class ForgetsCrashes(MemoryBroker):
    async def evict(self, worker: str) -> int:
        session = self.server.exchange._sessions.get(worker)
        if session is None:
            return 0
        session.tell_lost([task.delivery for task in session.held.values()])
        return self.server.exchange.leave(session, 1e12)


class ChargesReleases(MemoryBroker):
    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        tasks = [self.server.exchange.owned(outcome.delivery) for outcome in batch]
        answers = await super().settle(batch)
        for outcome, task in zip(batch, tasks, strict=True):
            if task is not None and isinstance(outcome.verdict, Release):
                task.crashes += 1
        return answers


class TellsNobody(MemoryBroker):
    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        await super().subscribe(queues, worker, slots, lambda _: None)


class NeverPauses(MemoryBroker):
    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        if queues or self._session is None:
            await super().subscribe(queues, worker, slots, lost)


class ReturnsWhatWasLost(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            await super().settle([Outcome(delivery, Release()) for delivery in got])
            raise
        return got


class RemembersAcked(MemoryBroker):
    acked: ClassVar[set[UUID]] = set()

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        done = [outcome.delivery.envelope for outcome in batch if isinstance(outcome.verdict, Ack)]
        self.acked.update(envelope.uuid for envelope in done if envelope is not None)
        return await super().settle(batch)

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        known = [AlreadyExists(envelope.uuid) if envelope.uuid in self.acked else None for envelope in batch]
        answers = iter(await super().send([item for item, there in zip(batch, known, strict=True) if not there]))
        return [there or next(answers) for there in known]


class ForgetsTheDead(MemoryBroker):
    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        for envelope in batch:
            task = self.server.ledger.tasks.get(envelope.uuid)
            if task is not None and task.where == "dead":
                self.server.exchange.queue(task.envelope.queue).exhume(task)
                self.server.ledger.tasks.pop(envelope.uuid)
        return await super().send(batch)


class IgnoresPerQueue(MemoryBroker):
    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return await super().receive(limit)


class LosesFollowUps(MemoryBroker):
    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().settle([replace(outcome, sends=()) for outcome in batch])


class SendsFollowUpsOfOthers(MemoryBroker):
    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().send([envelope for outcome in batch for _, envelope in outcome.sends])
        return await super().finish_and_settle(batch)


class AddsByHalf(MemoryBroker):
    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        answers = await super().add_and_send(batch)
        for answer, (record, _) in zip(answers, batch, strict=True):
            if isinstance(answer, RefusedError):
                self.server.ledger.add(record, 0.0)
        return answers


class AddOverwrites(MemoryStorage):
    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        await self.delete([record.uuid for record in batch])
        return await super().add(batch)


class MarksBackwards(MemoryStorage):
    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        return await super().mark([replace(record, attempt=record.attempt + 10) for record in batch])


class KeepsResultsForEver(MemoryStorage):
    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return await super().finish([replace(record, ttl_s=1e9) for record in batch])


class NoAnswerForTheLast(MemoryStorage):
    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return [answer for answer in await super().finish(batch) if answer is not None]


class ComparesNothing(MemoryGlobalConfig):
    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        await self.put(key, value, ttl_s)
        return (await self.get(key)).revision


class KeepsKeysForEver(MemoryGlobalConfig):
    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        await super().put(key, value)


class WatchesOnce(MemoryGlobalConfig):
    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        for item in (await self.list(prefix)).items():
            yield item
        await asyncio.Event().wait()


class WatchesFromNowOn(MemoryGlobalConfig):
    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        there = await self.list(prefix)
        async for key, found in super().watch(prefix):
            if there.get(key) != found:
                yield key, found


class Mutant(NamedTuple):
    """One broken copy, and what stays whole beside it."""

    what: str
    broker: Any = MemoryBroker
    storage: Any = MemoryStorage
    global_config: Any = MemoryGlobalConfig


MUTANTS = {
    "unbroken": Mutant("nothing is wrong"),
    "loses-on-crash": Mutant("what a dead worker held is gone", broker=LosesOnCrash),
    "acks-early": Mutant("receiving acknowledges", broker=AcksEarly),
    "ignores-limit": Mutant("receive() returns more than it was asked for", broker=IgnoresLimit),
    "drops-one-of-a-batch": Mutant("the last message of a batch is not sent", broker=DropsOneOfABatch),
    "fails-a-batch-for-one-item": Mutant("one message that is too large fails all", broker=FailsABatchForOneItem),
    "wrong-order": Mutant("the least urgent and youngest go first", broker=WrongOrder),
    "no-fencing": Mutant("an old owner settles what another has", broker=NoFencing),
    "repeats-results": Mutant("a second final record replaces the first", storage=RepeatsResults),
    "strands-on-cancel": Mutant("a cancelled receive() keeps what it took", broker=StrandsOnCancel),
    "wakes-nobody": Mutant("a final record wakes no waiter", storage=WakesNobody),
    "wakes-no-receiver": Mutant("a message wakes no receive() that waits", broker=WakesNoReceiver),
    "delivers-early": Mutant("a delay is cut to a quarter", broker=DeliversEarly),
    "forgets-crashes": Mutant("a dead worker is charged to nothing", broker=ForgetsCrashes),
    "charges-releases": Mutant("a release counts as a crash", broker=ChargesReleases),
    "tells-nobody": Mutant("lost() is not called", broker=TellsNobody),
    "never-pauses": Mutant("subscribe(()) does nothing", broker=NeverPauses),
    "returns-what-was-lost": Mutant("receive() returns what lost() has named", broker=ReturnsWhatWasLost),
    "remembers-acked": Mutant("a uuid that was acknowledged is there for ever", broker=RemembersAcked),
    "forgets-the-dead": Mutant("a dead letter is sent again by who sends its uuid", broker=ForgetsTheDead),
    "ignores-per-queue": Mutant("receive() does not look at per_queue", broker=IgnoresPerQueue),
    "loses-follow-ups": Mutant("settle() does not send", broker=LosesFollowUps),
    "sends-follow-ups-of-others": Mutant("a fenced outcome has successors", broker=SendsFollowUpsOfOthers),
    "adds-by-half": Mutant("a refused task has a record", broker=AddsByHalf),
    "add-overwrites": Mutant("add() replaces the record that is there", storage=AddOverwrites),
    "marks-backwards": Mutant("the mark of an older attempt counts", storage=MarksBackwards),
    "keeps-results-for-ever": Mutant("a final record does not expire", storage=KeepsResultsForEver),
    "answers-too-little": Mutant("finish() answers only what went wrong", storage=NoAnswerForTheLast),
    "compares-nothing": Mutant("cas() always writes", global_config=ComparesNothing),
    "keeps-keys-for-ever": Mutant("a key does not expire", global_config=KeepsKeysForEver),
    "watches-once": Mutant("watch() sees no change", global_config=WatchesOnce),
    "watches-from-now-on": Mutant("watch() leaves out what is there", global_config=WatchesFromNowOn),
}
