"""Brokers that are wrong about what becomes of a delivery: verdicts, follow-ups, evictions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.contract import Ack, Dead, Depth, Outcome, Release, Retry
from qtasks_core.errors import FencedError
from qtasks_core.memory import MemoryBroker
from qtasks_core.memory.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import Delivery, Envelope, PerItem
    from qtasks_core.memory.session import Session
    from qtasks_core.memory.task import Task


class Changed(MemoryBroker):
    """Settles other outcomes than it was given."""

    def changed(self, outcome: Outcome) -> Outcome:
        return outcome

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().settle([self.changed(outcome) for outcome in batch])

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().finish_and_settle([self.changed(outcome) for outcome in batch])


# ---------------------------------------------------------------- who may settle


@caught_by(
    "EvictsSuite::test_the_old_owner_is_fenced",
    "BrokerSuite::test_an_old_handle_of_the_same_worker_settles_nothing",
)
class NoFencing(Changed):
    """An old owner settles what another has."""

    def changed(self, outcome: Outcome) -> Outcome:
        assert outcome.delivery.envelope is not None
        task = self.server.ledger.tasks.get(outcome.delivery.envelope.uuid)
        if task is None or task.where != "lent":
            return outcome
        return replace(outcome, delivery=task.delivery)


@caught_by(
    "BrokerSuite::test_a_delivery_is_settled_once",
    "BrokerSuite::test_a_delivery_twice_in_one_batch_is_settled_once",
)
class SettledTwiceCountsTwice(MemoryBroker):
    """Who settles a delivery a second time is told that it worked."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().settle(batch)
        return [None] * len(batch)


@caught_by(
    "BrokerSuite::test_a_delivery_is_settled_once",
    "EvictsSuite::test_one_batch_of_an_old_owner_may_hold_old_and_new",
    "FusedBrokerSuite::test_one_that_is_not_ours_does_not_fail_its_batch_mates",
)
class OneFencedFailsAll(MemoryBroker):
    """A batch with one delivery that is not ours any more is not applied."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return self._refused(batch) or await super().settle(batch)

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        return self._refused(batch) or await super().finish_and_settle(batch)

    def _refused(self, batch: Sequence[Outcome]) -> PerItem:
        if all(self.server.exchange.owned(outcome.delivery) for outcome in batch):
            return []
        return [FencedError("not ours") for _ in batch]


# ---------------------------------------------------------------- verdicts


@caught_by("BrokerSuite::test_a_released_delivery_comes_again_uncharged")
class ChargesReleases(MemoryBroker):
    """A release counts as a crash."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        tasks = [self.server.exchange.owned(outcome.delivery) for outcome in batch]
        answers = await super().settle(batch)
        for outcome, task in zip(batch, tasks, strict=True):
            if task is not None and isinstance(outcome.verdict, Release):
                task.crashes += 1
        return answers


@caught_by("BrokerSuite::test_a_release_with_a_delay_is_held_back")
class ReleasesAtOnce(Changed):
    """A release with a delay comes back at once."""

    def changed(self, outcome: Outcome) -> Outcome:
        return replace(outcome, verdict=Release()) if isinstance(outcome.verdict, Release) else outcome


@caught_by(
    "BrokerSuite::test_a_retry_replaces_the_envelope_and_keeps_its_identity",
    "RetrySuite::test_the_last_error_is_the_result_when_no_attempt_is_left",
)
class AttemptsAreNotCounted(Changed):
    """A retry comes as the attempt that it was."""

    def changed(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome.verdict, Retry):
            return outcome
        assert outcome.delivery.envelope is not None
        again = replace(outcome.verdict.envelope, attempt=outcome.delivery.envelope.attempt)
        return replace(outcome, verdict=Retry(again))


@caught_by(
    "BrokerSuite::test_a_retry_waits_until_it_is_due",
    "RetrySuite::test_no_attempt_comes_before_its_time",
)
class RetriesAtOnce(Changed):
    """A retry does not wait until it is due."""

    def changed(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome.verdict, Retry):
            return outcome
        return replace(outcome, verdict=Retry(replace(outcome.verdict.envelope, due_at=None, delay_s=0.0)))


@caught_by(
    "BrokerSuite::test_a_dead_letter_is_kept_and_not_delivered",
    "DeadLetterSuite::test_a_task_that_failed_for_good_is_listed",
)
class LosesTheDead(Changed):
    """A dead letter is thrown away."""

    def changed(self, outcome: Outcome) -> Outcome:
        return replace(outcome, verdict=Ack()) if isinstance(outcome.verdict, Dead) else outcome


@caught_by("BrokerSuite::test_a_dead_letter_is_kept_and_not_delivered")
class DeliversTheDead(MemoryBroker):
    """A dead letter is delivered once more."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().settle(
            [replace(item, verdict=Release()) if isinstance(item.verdict, Dead) else item for item in batch]
        )


@caught_by("InspectableSuite::test_no_more_dead_letters_are_kept_than_the_setting_says")
class KeepsAllTheDead(Exchange):
    """Dead letters are kept without a bound."""

    def __init__(self, dead_letter_max: int) -> None:
        super().__init__(dead_letter_max * 1000)


@caught_by("InspectableSuite::test_dead_letters_are_shown_with_their_reason")
class ForgetsTheReason(Changed):
    """A dead letter does not say why it is one."""

    def changed(self, outcome: Outcome) -> Outcome:
        return replace(outcome, verdict=Dead("")) if isinstance(outcome.verdict, Dead) else outcome


# ---------------------------------------------------------------- follow-ups


@caught_by("BrokerSuite::test_follow_ups_are_sent_with_the_verdict")
class LosesFollowUps(MemoryBroker):
    """settle() does not send what follows."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await super().settle([replace(outcome, sends=()) for outcome in batch])


@caught_by("BrokerSuite::test_a_settle_that_is_refused_sends_no_follow_up")
class SendsBeforeItLooks(MemoryBroker):
    """What is not ours any more has successors nevertheless."""

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().send([envelope for outcome in batch for _, envelope in outcome.sends])
        return await super().settle(batch)


@caught_by("FusedBrokerSuite::test_of_a_zombie_and_its_successor_one_outcome_counts")
class SendsFollowUpsOfOthers(MemoryBroker):
    """A fenced outcome with a record has successors."""

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().send([envelope for outcome in batch for _, envelope in outcome.sends])
        return await super().finish_and_settle(batch)


# ---------------------------------------------------------------- evictions


@caught_by(
    "EvictsSuite::test_what_an_evicted_worker_held_goes_to_others",
    "AtMostOnceSuite::test_by_default_it_is_run_again",
)
class LosesOnCrash(MemoryBroker):
    """What a dead worker held is gone."""

    async def evict(self, worker: str) -> int:
        session = self.server.exchange._sessions.get(worker)
        held = [task.delivery for task in session.held.values()] if session is not None else []
        await super().settle([Outcome(delivery, Ack()) for delivery in held])
        return len(held)


@caught_by("EvictsSuite::test_a_crash_is_charged_to_what_was_held")
class ForgetsCrashes(MemoryBroker):
    """A dead worker is charged to nothing."""

    async def evict(self, worker: str) -> int:
        session = self.server.exchange._sessions.get(worker)
        if session is None:
            return 0
        session.tell_lost([task.delivery for task in session.held.values()])
        return self.server.exchange.leave(session, 1e12)


@caught_by("EvictsSuite::test_a_crash_is_charged_to_what_was_held")
class SuspectsNothing(Exchange):
    """What a dead worker held is delivered as if nobody could have run it."""

    def _lend(self, queue: Any, session: Session, now: float) -> Delivery:
        delivery = super()._lend(queue, session, now)
        token: Any = delivery.token
        task = session.held[token[2]]
        task.delivery = replace(delivery, suspect=False, crashes=0)
        return task.delivery


@caught_by("EvictsSuite::test_a_retry_counts_crashes_from_its_envelope_on")
class ChargesTwice(Exchange):
    """After a retry the crashes of the attempts before count twice."""

    def enqueue(self, task: Task, envelope: Envelope, now: float) -> None:
        crashes = task.crashes
        super().enqueue(task, envelope, now)
        task.crashes = crashes


@caught_by("EvictsSuite::test_the_old_owner_is_told")
class TellsNobody(MemoryBroker):
    """lost() is not called."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        await super().subscribe(queues, worker, slots, lambda _: None)


@caught_by("EvictsSuite::test_others_are_not_touched")
class EvictsEverybody(Exchange):
    """One dead worker costs all the others what they hold."""

    def evict(self, worker: str, now: float) -> int:
        names = list(self._sessions) if worker in self._sessions else []
        return sum([Exchange.evict(self, name, now) for name in names])


@caught_by("EvictsSuite::test_an_eviction_wakes_who_waits")
class EvictsQuietly(MemoryBroker):
    """What an evicted worker held waits until somebody looks."""

    async def evict(self, worker: str) -> int:
        idle, self.server.exchange._idle = self.server.exchange._idle, {}
        evicted = await super().evict(worker)
        self.server.exchange._idle = idle
        return evicted


@caught_by("EvictsSuite::test_an_eviction_during_a_pause_finds_what_is_held")
class EvictsNobodyWhoPauses(Exchange):
    """A worker that takes nothing at the moment cannot be evicted."""

    def evict(self, worker: str, now: float) -> int:
        session = self._sessions.get(worker)
        return super().evict(worker, now) if session is None or session.queues else 0


@caught_by("EvictsSuite::test_an_eviction_beside_a_receive_is_told_of_what_was_seen")
class ReturnsWhatWasLost(MemoryBroker):
    """receive() returns what lost() has named."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            await super().settle([Outcome(delivery, Release()) for delivery in got])
            raise
        return got


# ---------------------------------------------------------------- depth


@caught_by("BrokerSuite::test_depth_counts_what_waits_runs_and_died")
class CountsTheDelayedAsReady(MemoryBroker):
    """depth() counts what is not due as ready."""

    async def depth(self, queue: str) -> Depth:
        got = await super().depth(queue)
        return got._replace(ready=(got.ready or 0) + (got.delayed or 0), delayed=0)


@caught_by("BrokerSuite::test_depth_counts_what_waits_runs_and_died")
class CountsNoRuns(MemoryBroker):
    """depth() does not count what workers hold."""

    async def depth(self, queue: str) -> Depth:
        return (await super().depth(queue))._replace(running=0)
