"""Storages that are wrong about what tasks yield."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.memory import MemoryStorage
from qtasks_core.memory.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    from qtasks_core.contract import Event, PerItem, TaskRecord
    from qtasks_core.memory.signal import Signal
    from qtasks_core.memory.stream import Stream
    from qtasks_core.memory.task import Task


@caught_by(
    "StreamsSuite::test_events_arrive_in_order_and_end_with_the_final_record",
    "GeneratorSuite::test_what_is_yielded_is_the_result_and_the_stream",
)
class LosesOrder(MemoryStorage):
    """What is written at once is read backwards."""

    async def append(self, batch: Sequence[Event]) -> PerItem:
        numbers = [event.seq for event in batch]
        turned = [replace(event, seq=number) for event, number in zip(reversed(batch), numbers, strict=True)]
        return await super().append(turned)


@caught_by("StreamsSuite::test_an_event_twice_is_seen_once")
class RepeatsEvents(Ledger):
    """An event that is written twice is read twice."""

    def append(self, event: Event) -> Any:
        task = self.open(event.uuid)
        if task.stream is not None and any(event == known for known in task.stream._events):
            event = replace(event, seq=task.stream._events[-1].seq + 1)
        return super().append(event)


@caught_by("StreamsSuite::test_a_newer_run_starts_the_stream_again")
class MixesRuns(MemoryStorage):
    """What the ghost of an older run still yields stands among the values of the newer one."""

    async def append(self, batch: Sequence[Event]) -> PerItem:
        return [await self._append(event) for event in batch]

    async def _append(self, event: Event) -> Exception | None:
        task = self.server.ledger.open(event.uuid)
        if task.stream is not None and task.stream._run is not None and event.run < task.stream._run:
            event = replace(event, run=task.stream._run, seq=task.stream._events[-1].seq + 1)
        return (await super().append([event]))[0]


@caught_by("StreamsSuite::test_events_of_several_tasks_are_kept_apart")
class MixesTasks(MemoryStorage):
    """What is written at once goes to the task of the first."""

    async def append(self, batch: Sequence[Event]) -> PerItem:
        return await super().append([replace(event, uuid=batch[0].uuid) for event in batch])


@caught_by("StreamsSuite::test_events_arrive_in_order_and_end_with_the_final_record")
class StreamsWithoutAnEnd(MemoryStorage):
    """A reader is not told that the task has ended."""

    async def events(self, uuid: UUID, after: Any = None) -> AsyncIterator[Event]:
        async for event in super().events(uuid, after):
            yield event
        await asyncio.Event().wait()


@caught_by("StreamsSuite::test_a_reader_goes_on_from_its_place")
class ForgetsThePlaceOfAReader(MemoryStorage):
    """A reader that comes back reads everything again."""

    async def events(self, uuid: UUID, after: Any = None) -> AsyncIterator[Event]:
        async for event in super().events(uuid):
            yield event


@caught_by("StreamsSuite::test_a_replay_begins_its_stream_anew", "DeadLetterSuite::test_its_stream_begins_anew")
class KeepsTheStreamOfALifeBefore(Ledger):
    """A replay goes on with the stream of the life before."""

    def begin(self, task: Task, record: TaskRecord | None, now: float) -> None:
        stream = task.stream
        super().begin(task, record, now)
        self._go_on(task, stream)

    def write(self, task: Task, record: TaskRecord, now: float) -> Any:
        stream = task.stream
        answer = super().write(task, record, now)
        self._go_on(task, stream)
        return answer

    def _go_on(self, task: Task, stream: Stream | None) -> None:
        if stream is not None and task.stream is None:
            task.stream = stream
            stream.ended = False


@caught_by("StreamsSuite::test_a_reader_who_leaves_leaves_nothing_behind")
class LeaksAReader(MemoryStorage):
    """A reader who left stays in the list of who reads."""

    async def _rest(self, stream: Stream, bell: Signal[None]) -> None:
        await bell.wait()
