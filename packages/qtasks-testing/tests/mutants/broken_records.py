"""Storages that are wrong about records: what is kept, how long, and who learns of it."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.errors import ResultExpiredError
from qtasks_core.memory import MemoryServer, MemoryStorage
from qtasks_core.memory.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    from qtasks_core.contract import PerItem, Status, TaskRecord
    from qtasks_core.errors import AlreadyFinal
    from qtasks_core.memory.signal import Signal
    from qtasks_core.memory.task import Task


# ---------------------------------------------------------------- what is written


@caught_by("StorageSuite::test_adding_a_uuid_again_changes_nothing")
class AddOverwrites(MemoryStorage):
    """add() replaces the record that is there."""

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        await self.delete([record.uuid for record in batch])
        return await super().add(batch)


@caught_by(
    "StorageSuite::test_the_first_final_record_wins",
    "StorageSuite::test_of_two_writers_one_wins",
)
class OverwritesAfterTheEnd(MemoryStorage):
    """A second final record replaces the first."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        for record in batch:
            task = self.server.ledger.tasks.get(record.uuid)
            if task is not None and task.final:
                self.server.ledger.erase(task)
        return await super().finish(batch)


@caught_by("FusedBrokerSuite::test_a_record_that_is_final_already_stays")
class EndsTwice(Ledger):
    """A worker that comes too late replaces the end that was written by another."""

    def write(self, task: Task, record: TaskRecord, now: float) -> AlreadyFinal | None:
        if task.final and task.record is not None and task.record.replays == record.replays:
            task.record = replace(task.record, status="process")
        return super().write(task, record, now)


@caught_by("ResultsSuite::test_a_waiter_is_woken_by_the_final_record", "StorageSuite::test_the_first_final_record_wins")
class AnswersTooLittle(MemoryStorage):
    """finish() answers only what went wrong."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return [answer for answer in await super().finish(batch) if answer is not None]


@caught_by("StorageSuite::test_a_mark_of_an_older_attempt_is_ignored")
class MarksBackwards(MemoryStorage):
    """The mark of an older attempt counts."""

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        return await super().mark([replace(record, attempt=record.attempt + 10) for record in batch])


@caught_by("StorageSuite::test_a_mark_of_a_final_record_returns_it")
class MarksWithoutAWord(MemoryStorage):
    """A worker that marks a task which has ended is not told, and runs it again."""

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        await super().mark(batch)
        return [None] * len(batch)


@caught_by("StorageSuite::test_a_replay_reopens_a_final_record")
class NeverReopens(MemoryStorage):
    """The record of a task that has ended is not opened again by its replay."""

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        return await super().mark([replace(record, replays=0) for record in batch])

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return await super().finish([replace(record, replays=0) for record in batch])


@caught_by("StorageSuite::test_a_replay_counts_its_attempts_anew")
class CountsAttemptsOverReplays(MemoryStorage):
    """Attempt 1 of a replay is taken for older than attempt 3 of the life before."""

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        return [await self._marked(record) for record in batch]

    async def _marked(self, record: TaskRecord) -> TaskRecord | None:
        (known,) = await self.get([record.uuid])
        if known is not None and record.attempt < known.attempt:
            return None
        return (await super().mark([record]))[0]


@caught_by("ResultsSuite::test_errors_arrive_too", "TimeoutSuite::test_an_async_task_is_cancelled")
class LosesErrors(Ledger):
    """What a task failed with is not kept."""

    def write(self, task: Task, record: TaskRecord, now: float) -> AlreadyFinal | None:
        return super().write(task, replace(record, error=None), now)


@caught_by(
    "StorageSuite::test_a_final_record_comes_back_as_it_was_finished",
    "ContextSuite::test_the_last_mark_of_progress_is_kept_with_the_task",
)
class LosesProgress(Ledger):
    """The last mark of progress is not kept with the task."""

    def write(self, task: Task, record: TaskRecord, now: float) -> AlreadyFinal | None:
        return super().write(task, replace(record, progress=None), now)


@caught_by("StorageSuite::test_deleted_records_are_gone")
class DeletesNothing(MemoryStorage):
    """delete() counts, and leaves everything."""

    async def delete(self, uuids: Sequence[UUID]) -> int:
        return len(uuids)


@caught_by("StorageSuite::test_apps_do_not_see_each_other", "OperationsSuite::test_other_apps_are_not_touched")
class OneLedgerForAllApps(MemoryStorage):
    """The records of all apps are in one place."""

    servers: ClassVar[dict[str, MemoryServer]] = {}

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self.server = self.servers.setdefault(url, self.server)


# ---------------------------------------------------------------- what is read


@caught_by("StorageSuite::test_get_answers_in_the_order_of_the_question")
class LeavesOutWhatIsUnknown(MemoryStorage):
    """get() answers what it found, without a place for what it has not."""

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        return [record for record in await super().get(uuids) if record is not None]


@caught_by("StorageSuite::test_scan_finds_by_status_and_by_name")
class ScansWithoutASieve(MemoryStorage):
    """scan() does not look at the name."""

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        async for record in super().scan(status):
            yield record


@caught_by("StorageSuite::test_a_scan_passes_over_many")
class ScansOnePage(MemoryStorage):
    """scan() ends after the first thousand."""

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        for record in islice([record async for record in super().scan(status, task_name)], 1000):
            yield record


# ---------------------------------------------------------------- for how long


@caught_by("StorageSuite::test_a_final_record_expires")
class ForgetsTheTtl(MemoryStorage):
    """A final record does not expire."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return await super().finish([replace(record, ttl_s=1e9) for record in batch])


@caught_by("StorageSuite::test_a_final_record_expires")
class OneTtlForAll(MemoryStorage):
    """A final record expires by the setting of the app, whatever its task said."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return await super().finish([replace(record, ttl_s=None) for record in batch])


@caught_by("StorageSuite::test_a_final_record_expires", "StorageSuite::test_an_expired_record_is_not_found_by_a_scan")
class ServesTheExpired(MemoryStorage):
    """What has expired is still served, by a cache."""

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self._cache: dict[UUID, TaskRecord] = {}

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        self._cache.update({record.uuid: record for record in batch})
        return await super().finish(batch)

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        found = await super().get(uuids)
        return [record or self._cache.get(uuid) for uuid, record in zip(uuids, found, strict=True)]

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        for record in self._cache.values():
            yield record


@caught_by("StorageSuite::test_what_is_not_final_does_not_expire")
class ExpiresTheUnfinished(Ledger):
    """The record of a task that waits expires with the time of its result."""

    def sweep(self, now: float) -> None:
        super().sweep(now)
        for task in list(self.tasks.values()):
            record = task.record
            if record is not None and not task.final and record.ttl_s is not None:
                self._born.setdefault(task.uuid, now)
                if now > self._born[task.uuid] + record.ttl_s:
                    self.erase(task)

    def __init__(self, result_ttl_s: float, max_bytes: int) -> None:
        super().__init__(result_ttl_s, max_bytes)
        self._born: dict[UUID, float] = {}


# ---------------------------------------------------------------- who waits


@caught_by(
    "ResultsSuite::test_a_waiter_is_woken_by_the_final_record",
    "StorageSuite::test_a_waiter_is_woken_by_the_final_record",
)
class WakesNobody(MemoryStorage):
    """A final record wakes no waiter."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        for record in batch:
            self.server.ledger.open(record.uuid).waiters = None
        return await super().finish(batch)


@caught_by("ResultsSuite::test_a_waiter_is_woken_from_another_event_loop")
class WakesItsOwnLoopOnly(MemoryStorage):
    """A waiter is not woken by who finishes on another event loop."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        loop = asyncio.get_running_loop()
        for record in batch:
            task = self.server.ledger.open(record.uuid)
            task.waiters = [waiter for waiter in task.waiters or () if waiter._loop is loop]
        return await super().finish(batch)


@caught_by("ResultsSuite::test_each_waiter_gets_its_own_record")
class OneRecordForAll(MemoryStorage):
    """Of a batch everybody gets the first record."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        first = batch[0].result if batch else None
        return await super().finish([replace(record, result=first) for record in batch])


@caught_by("ResultsSuite::test_a_retry_is_no_end")
class WakesForARetry(MemoryStorage):
    """A waiter gets the record of an attempt that failed, and does not wait for the next one."""

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        for record in batch:
            for waiter in self.server.ledger.open(record.uuid).waiters or ():
                waiter.give(record)
        return await super().finish(batch)


@caught_by(
    "ResultsSuite::test_a_record_that_is_final_already_is_not_waited_for",
    "ResultsSuite::test_a_waiter_is_never_missed",
)
class MissesWhatIsThere(MemoryStorage):
    """Who waits for what has ended waits for ever."""

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        (record,) = await self.get([uuid])
        if record is not None and record.finished_at is not None:
            async with asyncio.timeout(timeout_s):
                await asyncio.Event().wait()
        return await super().wait(uuid, timeout_s)


@caught_by("ResultsSuite::test_waiting_has_an_end")
class GivesWhatItHas(MemoryStorage):
    """wait() returns the record as it stands when the time is over, though the task has not ended."""

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        try:
            return await super().wait(uuid, timeout_s)
        except TimeoutError:
            (record,) = await self.get([uuid])
            if record is None:
                raise
            return record


@caught_by("StorageSuite::test_waiting_for_what_nobody_knows_ends_at_once")
class WaitsForTheUnknown(MemoryStorage):
    """Who waits for what nobody knows learns nothing until the time is over."""

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        try:
            return await super().wait(uuid, timeout_s)
        except ResultExpiredError:
            await asyncio.sleep(timeout_s or 60)
            raise TimeoutError from None


@caught_by("ResultsSuite::test_a_wait_in_vain_leaves_nothing_behind")
class LeaksAWaiter(Ledger):
    """Who waited in vain stays in the list of who waits."""

    def leave(self, task: Task, waiter: Signal[TaskRecord]) -> None:
        """Leave it there."""


# ---------------------------------------------------------------- unique keys


@caught_by(
    "StorageSuite::test_a_unique_key_is_held_by_one_task", "UniqueSuite::test_the_second_add_returns_the_first_task"
)
class IgnoresUniqueKeys(Ledger):
    """Two tasks may have the same unique key."""

    def held_by_another(self, record: TaskRecord, now: float) -> Any:
        return None


@caught_by("StorageSuite::test_the_end_of_a_task_frees_its_key", "UniqueSuite::test_the_end_of_the_task_frees_its_key")
class HoldsAKeyForEver(Ledger):
    """The end of a task does not free its unique key."""

    def _free(self, task: Task) -> None:
        """Keep it."""


@caught_by("UniqueSuite::test_a_running_task_holds_its_key")
class FreesAKeyEarly(Ledger):
    """A unique key is free as soon as its task runs."""

    def held_by_another(self, record: TaskRecord, now: float) -> Any:
        for task in list(self.tasks.values()):
            if task.where == "lent":
                self._free(task)
        return super().held_by_another(record, now)


@caught_by("StorageSuite::test_the_end_of_a_task_frees_its_key", "UniqueSuite::test_a_further_attempt_holds_the_key")
class FreesAKeyBetweenAttempts(Ledger):
    """A unique key is free while its task waits for its next attempt."""

    def write(self, task: Task, record: TaskRecord, now: float) -> AlreadyFinal | None:
        if record.status == "retry":
            self._free(task)
        return super().write(task, record, now)


@caught_by("StorageSuite::test_its_time_frees_a_key")
class ForgetsTheTimeOfAKey(Ledger):
    """A unique key is held beyond unique_ttl."""

    def _hold(self, key: str, task: Task, ttl_s: float | None, now: float) -> None:
        super()._hold(key, task, None, now)


@caught_by("StorageSuite::test_its_time_frees_a_key")
class FreesTheKeyOfAnother(Ledger):
    """The end of a task frees a unique key that another task has by now."""

    def _free(self, task: Task) -> None:
        key, task.unique_key = task.unique_key, None
        self._unique.pop(key or "", None)


@caught_by("StorageSuite::test_who_lost_the_key_has_no_record")
class LoserHasARecord(MemoryStorage):
    """A task that did not get its unique key has a record."""

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        answers = await super().add(batch)
        for record in batch:
            await super().add([replace(record, unique_key=None)])
        return answers
