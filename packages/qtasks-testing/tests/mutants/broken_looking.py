"""Brokers that are wrong about what operators do: looking, sending again, emptying, cancelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.memory import MemoryBroker
from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Envelope

    Rewrite = Callable[[Envelope], Envelope]


@caught_by("InspectableSuite::test_peeking_removes_nothing")
class TakesWhatItShows(MemoryBroker):
    """peek() takes out of the queue what it shows."""

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        shown = [item async for item in super().peek(queue, dead, after)]
        await self.purge(queue, dead, [cursor for cursor, _, _ in shown])
        for item in shown:
            yield item


@caught_by("InspectableSuite::test_a_cursor_is_a_place_to_go_on_from")
class BeginsAgain(MemoryBroker):
    """peek() begins at the start, wherever it was asked to go on."""

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        async for item in super().peek(queue, dead):
            yield item


@caught_by("InspectableSuite::test_many_are_shown")
class ShowsOnePage(MemoryBroker):
    """peek() ends after the first thousand."""

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        for item in [item async for item in super().peek(queue, dead, after)][:1000]:
            yield item


@caught_by(
    "InspectableSuite::test_dead_letters_are_sent_again_as_they_are_rewritten",
    "DeadLetterSuite::test_sent_again_it_runs_as_a_new_task_would",
)
class ReplaysTwice(MemoryBroker):
    """A dead letter that is sent again comes twice."""

    async def replay(self, queue: str, rewrite: Rewrite, cursors: Sequence[str] | None = None) -> int:
        shown = [(cursor, envelope) async for cursor, envelope, _ in super().peek(queue, dead=True)]
        count = await super().replay(queue, rewrite, cursors)
        chosen = [envelope for cursor, envelope in shown if cursors is None or cursor in cursors]
        await self.send([replace(rewrite(envelope), uuid=new_uuid()) for envelope in chosen])
        return count


@caught_by("InspectableSuite::test_dead_letters_are_sent_again_as_they_are_rewritten")
class IgnoresTheRewrite(MemoryBroker):
    """A dead letter is sent again as it was."""

    async def replay(self, queue: str, rewrite: Rewrite, cursors: Sequence[str] | None = None) -> int:
        return await super().replay(queue, lambda before: replace(before, replays=before.replays + 1), cursors)


@caught_by(
    "InspectableSuite::test_chosen_dead_letters_are_sent_again",
    "DeadLetterSuite::test_some_may_be_chosen",
)
class ReplaysAll(MemoryBroker):
    """All dead letters are sent again, whichever were chosen."""

    async def replay(self, queue: str, rewrite: Rewrite, cursors: Sequence[str] | None = None) -> int:
        return await super().replay(queue, rewrite)


@caught_by("InspectableSuite::test_purging_takes_cursors_and_dead_letters")
class PurgesAll(MemoryBroker):
    """All dead letters are deleted, whichever were chosen."""

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        return await super().purge(queue, dead)


@caught_by("InspectableSuite::test_purging_deletes_what_waits")
class PurgesTheRunning(MemoryBroker):
    """Emptying a queue takes away what workers hold."""

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        with self.server.step as now:
            for session in list(self.server.exchange._sessions.values()):
                self.server.exchange.leave(session, now)
        return await super().purge(queue, dead, cursors)


@caught_by("InspectableSuite::test_purging_deletes_what_waits")
class PurgesTheDeadToo(MemoryBroker):
    """Emptying a queue deletes its dead letters."""

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        if not dead:
            await super().purge(queue, dead=True)
        return await super().purge(queue, dead, cursors)


# ---------------------------------------------------------------- cancelling


@caught_by(
    "CancelsSuite::test_what_waits_is_removed_and_recorded",
    "CancelSuite::test_a_task_that_waits_never_starts",
)
class CancelDoesNotReachTheMessage(MemoryBroker):
    """A cancelled task that waits has its record, and is delivered all the same."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        tasks = [self.server.ledger.tasks.get(uuid) for uuid in uuids]
        messages = [task.envelope for task in tasks if task is not None and task.where == "waiting"]
        answers = await super().cancel(uuids, reason)
        await self.send([replace(envelope, uuid=new_uuid()) for envelope in messages])
        return answers


@caught_by("CancelsSuite::test_what_waits_is_removed_and_recorded")
class CancelsWithoutARecord(MemoryBroker):
    """A cancelled task that waits is gone, and nobody learns why."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        return await super().cancel(uuids, "")


@caught_by("CancelsSuite::test_what_waits_is_removed_and_recorded")
class CancelsNothingDelayed(MemoryBroker):
    """A task that is not due yet cannot be cancelled."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        tasks = {uuid: self.server.ledger.tasks.get(uuid) for uuid in uuids}
        ready = [uuid for uuid, task in tasks.items() if task is None or task.key is task.place]
        answers = dict(zip(ready, await super().cancel(ready, reason), strict=True))
        return [answers.get(uuid) for uuid in uuids]


@caught_by("CancelsSuite::test_what_runs_or_is_unknown_is_left_to_the_engine")
class SaysThatItCancelledARun(MemoryBroker):
    """Who cancels a task that runs is told that it is done, and the run goes on."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        return [True if answer is None else answer for answer in await super().cancel(uuids, reason)]


@caught_by("CancelsSuite::test_what_is_final_is_not_cancelled")
class CancelsTheFinished(MemoryBroker):
    """A task that has ended is cancelled once more."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        return [True if answer is False else answer for answer in await super().cancel(uuids, reason)]
