"""Brokers that are wrong about what is sent to them."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace
from mutant import caught_by  # a sibling: no package is here

from qtasks_core.contract import Ack, Outcome
from qtasks_core.errors import AlreadyExists, RefusedError
from qtasks_core.memory import MemoryBroker, MemoryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Delivery, Envelope, PerItem


@caught_by("SenderSuite::test_a_full_batch_is_sent_whole", "CallsSuite::test_many_calls_are_added_at_once")
class DropsOneOfABatch(MemoryBroker):
    """The last message of a batch is not sent."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        kept = batch[:-1] if len(batch) > 1 else batch
        return [*await super().send(kept), *[None] * (len(batch) - len(kept))]

    async def add_and_send(self, batch: Any) -> PerItem:
        kept = batch[:-1] if len(batch) > 1 else batch
        return [*await super().add_and_send(kept), *[None] * (len(batch) - len(kept))]


@caught_by("SenderSuite::test_an_item_that_is_too_large_is_refused_alone")
class FailsABatchForOneItem(MemoryBroker):
    """One message that is too large fails all that are sent with it."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        if any(len(envelope.body) > self.limits.message_bytes for envelope in batch):
            return [RefusedError("a message is too large") for _ in batch]
        return await super().send(batch)


@caught_by("SenderSuite::test_an_item_that_is_too_large_is_refused_alone")
class RefusesNothing(MemoryBroker):
    """A message that is too large is taken without a word, and is gone."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        answers = await super().send(batch)
        return [None if isinstance(answer, RefusedError) else answer for answer in answers]


@caught_by("SenderSuite::test_what_was_sent_is_there_when_send_returns")
class AnswersBeforeItIsSafe(MemoryBroker):
    """send() returns some time before the messages are there."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        asyncio.get_running_loop().call_later(0.01, self._send, batch)
        return [None] * len(batch)

    def _send(self, batch: Sequence[Envelope]) -> None:
        with self.server.step as now:
            for envelope in batch:
                self.server.accept(None, envelope, now)


@caught_by(
    "SenderSuite::test_a_uuid_that_is_there_is_not_sent_again",
    "SenderSuite::test_a_uuid_twice_in_one_batch_is_sent_once",
)
class SendsAUuidTwice(MemoryBroker):
    """A message whose uuid waits already is sent a second time."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        answers: list[Exception | None] = []
        for envelope in batch:
            task = self.server.ledger.tasks.get(envelope.uuid)
            if task is not None and task.where == "waiting":
                self.server.ledger.tasks.pop(envelope.uuid)
            answers += await super().send([envelope])
        return answers


@caught_by("BrokerSuite::test_a_uuid_that_was_acknowledged_may_be_sent_again")
class RemembersAcked(MemoryBroker):
    """A uuid that was acknowledged is there for ever."""

    acked: ClassVar[set[UUID]] = set()

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        done = [outcome.delivery.envelope for outcome in batch if isinstance(outcome.verdict, Ack)]
        self.acked.update(envelope.uuid for envelope in done if envelope is not None)
        return await super().settle(batch)

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        known = [AlreadyExists(envelope.uuid) if envelope.uuid in self.acked else None for envelope in batch]
        answers = iter(await super().send([item for item, there in zip(batch, known, strict=True) if not there]))
        return [there or next(answers) for there in known]


@caught_by("BrokerSuite::test_a_dead_letter_is_there_already")
class ForgetsTheDead(MemoryBroker):
    """Who sends the uuid of a dead letter sends it again."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        for envelope in batch:
            task = self.server.ledger.tasks.get(envelope.uuid)
            if task is not None and task.where == "dead":
                self.server.exchange.queue(task.envelope.queue).exhume(task)
                self.server.ledger.tasks.pop(envelope.uuid)
        return await super().send(batch)


@caught_by(
    "BrokerSuite::test_a_delayed_message_is_held_back_until_it_is_due",
    "TimesSuite::test_a_task_does_not_run_before_it_is_due",
)
class DeliversEarly(MemoryBroker):
    """What is delayed comes when a quarter of the time is over."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        return await super().send([self._early(envelope) for envelope in batch])

    async def add_and_send(self, batch: Any) -> PerItem:
        return await super().add_and_send([(record, self._early(envelope)) for record, envelope in batch])

    def _early(self, envelope: Envelope) -> Envelope:
        with self.server.step as now:
            due = None if envelope.due_at is None else now + (envelope.due_at - now) / 4
        return replace(envelope, delay_s=envelope.delay_s / 4, due_at=due)


@caught_by("BrokerSuite::test_bodies_are_opaque")
class LooksIntoBodies(MemoryBroker):
    """A body is treated as text, and what is no UTF-8 in it is replaced."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        return await super().send([replace(item, body=item.body.decode(errors="replace").encode()) for item in batch])


@caught_by("BrokerSuite::test_what_was_sent_arrives_as_it_was_sent")
class LosesAField(MemoryBroker):
    """The address of who waits for the result is not carried."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        return await super().send([replace(envelope, reply_to=None) for envelope in batch])


@caught_by("BrokerSuite::test_queues_may_have_any_name")
class TakesNamesForPatterns(MemoryBroker):
    """The name of a queue is matched as a pattern."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        known = self.server.exchange.names
        matching = [name for name in known for queue in queues if fnmatchcase(name, queue)]
        await super().subscribe([*queues, *matching], worker, slots, lost)


@caught_by(
    "SenderSuite::test_apps_do_not_see_each_other",
    "BrokerSuite::test_apps_do_not_receive_from_each_other",
)
class OneServerForAllApps(MemoryBroker):
    """Queues of two apps that have the same name are the same queue."""

    servers: ClassVar[dict[str, MemoryServer]] = {}

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self.server = self.servers.setdefault(url, self.server)


@caught_by("SenderSuite::test_messages_outlive_a_stop")
class ForgetsWhenItStops(MemoryBroker):
    """What waits is gone when the object that sent it is stopped."""

    async def stop(self) -> None:
        await super().stop()
        await self.clear()


@caught_by("SenderSuite::test_clear_deletes_everything", "OperationsSuite::test_everything_is_deleted")
class ClearsTheReadyOnly(MemoryBroker):
    """Messages that are not due yet survive clear()."""

    async def clear(self) -> None:
        for queue in self.server.exchange.names:
            ready = self.server.exchange.queue(queue).ready
            for _, task in list(ready):
                ready.remove(task)
                task.lose_message()
                self.server.ledger.close(task)
