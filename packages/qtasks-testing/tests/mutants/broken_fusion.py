"""Brokers that are wrong about a message and its record being one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.errors import AlreadyExists, RefusedError
from qtasks_core.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Envelope, Outcome, PerItem, Results, TaskRecord


@caught_by("FusedSenderSuite::test_it_fuses_with_the_storage_of_its_server_only")
class FusesWithAnything(MemoryBroker):
    """A storage on another server is taken for one of the same."""

    def fuses(self, storage: Results) -> bool:
        return True


@caught_by("FusedSenderSuite::test_what_is_refused_leaves_neither_record_nor_message")
class AddsByHalf(MemoryBroker):
    """A task that was refused has a record."""

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        answers = await super().add_and_send(batch)
        for answer, (record, _) in zip(answers, batch, strict=True):
            if isinstance(answer, RefusedError):
                self.server.ledger.add(record, 0.0)
        return answers


@caught_by("FusedSenderSuite::test_a_uuid_that_is_there_is_added_once")
class AddsAgain(MemoryBroker):
    """A task that is added again under its uuid is added a second time."""

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        answers: list[Exception | None] = []
        for record, envelope in batch:
            task = self.server.ledger.tasks.get(envelope.uuid)
            if task is not None and task.where == "waiting":
                self.server.ledger.tasks.pop(envelope.uuid)
            answers += await super().add_and_send([(record, envelope)])
        return answers


@caught_by("FusedSenderSuite::test_a_task_that_has_ended_is_not_sent_again")
class RevivesTheEnded(MemoryBroker):
    """A task that has ended runs again when its caller repeats the call."""

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        for _, envelope in batch:
            task = self.server.ledger.tasks.get(envelope.uuid)
            if task is not None and task.final:
                self.server.ledger.erase(task)
        return await super().add_and_send(batch)


@caught_by("FusedSenderSuite::test_who_lost_a_unique_key_has_neither_record_nor_message")
class SendsWhatLostItsKey(MemoryBroker):
    """A task that did not get its unique key is sent all the same."""

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        answers = await super().add_and_send(batch)
        for answer, (_, envelope) in zip(answers, batch, strict=True):
            if isinstance(answer, AlreadyExists) and answer.uuid != envelope.uuid:
                await super().send([envelope])
        return answers


@caught_by("FusedSenderSuite::test_the_record_tells_of_its_task")
class AddsWithoutARecord(MemoryBroker):
    """A task is sent, and its record is not written."""

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        return await super().send([envelope for _, envelope in batch])


@caught_by("FusedBrokerSuite::test_a_task_ends_with_its_record")
class EndsWithoutARecord(MemoryBroker):
    """A task is acknowledged, and its end is not written."""

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().finish_and_settle([replace(outcome, record=None) for outcome in batch])


@caught_by("FusedBrokerSuite::test_successors_start_with_the_end")
class EndsWithoutSuccessors(MemoryBroker):
    """A task ends with its record, and what follows is not sent."""

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().finish_and_settle([replace(outcome, sends=()) for outcome in batch])
