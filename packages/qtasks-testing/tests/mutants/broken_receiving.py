"""Brokers that are wrong about who gets what, when, and in which order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from mutant import caught_by

from qtasks_core.contract import Ack, Outcome, Release
from qtasks_core.memory import MemoryBroker
from qtasks_core.memory.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import Delivery, Envelope, PerItem
    from qtasks_core.memory.session import Receiver, Session
    from qtasks_core.memory.task import Task


@caught_by(
    "BrokerSuite::test_an_unsettled_delivery_is_not_gone",
    "StatefulSuite::test_no_interleaving_loses_repeats_or_disorders_anything",
)
class AcksEarly(MemoryBroker):
    """Receiving acknowledges."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        await super().settle([Outcome(delivery, Ack()) for delivery in got])
        return got

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        await super().settle(batch)
        return [None] * len(batch)


@caught_by("BrokerSuite::test_no_more_than_the_limit_arrives_and_the_rest_stays_for_others")
class IgnoresLimit(MemoryBroker):
    """receive() returns more than it was asked for."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return await super().receive(limit * 10, per_queue)


@caught_by("BrokerSuite::test_no_more_than_the_limit_arrives_and_the_rest_stays_for_others")
class Hoards(MemoryBroker):
    """A worker takes more than it has slots for, and keeps the rest where nobody else can run it."""

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self._kept: list[Delivery] = []

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        if not self._kept:
            self._kept = [*await super().receive(limit + 10, per_queue)]
        got, self._kept = self._kept[:limit], self._kept[limit:]
        return got


@caught_by("BrokerSuite::test_nothing_to_receive_is_waited_for")
class ReturnsNothing(MemoryBroker):
    """receive() returns an empty list instead of waiting."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        try:
            async with asyncio.timeout(0.005):
                return await super().receive(limit, per_queue)
        except TimeoutError:
            return []


@caught_by("BrokerSuite::test_a_waiting_call_is_woken_by_a_message")
class WakesNoReceiver(MemoryBroker):
    """A message wakes no receive() that waits."""

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        idle, self.server.exchange._idle = self.server.exchange._idle, {}
        answers = await super().send(batch)
        self.server.exchange._idle = idle
        return answers


@caught_by("BrokerSuite::test_a_waiting_call_is_woken_when_a_message_is_due")
class SleepsThroughDueTimes(Exchange):
    """Who waits is not woken when a message is due."""

    def idle(self, receiver: Receiver) -> float | None:
        super().idle(receiver)
        return None


@caught_by("BrokerSuite::test_a_nearer_message_is_not_held_up_by_a_farther_one")
class SleepsUntilTheFirst(Exchange):
    """Who waits until a message is due is not woken for one that is due before it."""

    def _ring_all(self, which: Callable[[Receiver], bool]) -> None:
        """Ring nobody: a message that is not ready rings all, one that is ready only one."""


@caught_by("BrokerSuite::test_a_call_in_vain_leaves_nothing_behind")
class KeepsEachCall(MemoryBroker):
    """A receive() that was cancelled is remembered for ever."""

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self._calls: list[asyncio.Event] = []

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        self._calls += [asyncio.Event(), asyncio.Event(), asyncio.Event()]
        return await super().receive(limit, per_queue)


# ---------------------------------------------------------------- order


@caught_by(
    "BrokerSuite::test_the_most_urgent_goes_first_then_the_oldest",
    "PrioritySuite::test_lower_numbers_go_first",
)
class WrongOrder(MemoryBroker):
    """The least urgent and the youngest go first."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(1000, per_queue)
        await super().settle([Outcome(delivery, Release()) for delivery in got[:-limit]])
        return got[-limit:]


@caught_by("BrokerSuite::test_the_most_urgent_goes_first_then_the_oldest")
class YoungestFirst(Exchange):
    """Of those that are as urgent the youngest goes first."""

    def _wait(self, task: Task, ready_at: float, now: float) -> None:
        priority, since, number = task.place
        task.place = (priority, -abs(since), -abs(number))
        super()._wait(task, ready_at, now)


@caught_by(
    "BrokerSuite::test_what_comes_later_and_is_more_urgent_goes_first",
    "PrioritySuite::test_what_comes_later_and_is_more_urgent_overtakes_a_whole_queue",
)
class UrgentWithinItsBatch(Exchange):
    """Priority counts among what is sent at once: a later batch waits for the earlier ones, however urgent."""

    since = 0.0
    batch = 0

    def enqueue(self, task: Task, envelope: Envelope, now: float) -> None:
        if now > self.since:
            self.since, self.batch = now, self.batch + 1000
        super().enqueue(task, envelope, now)

    def _wait(self, task: Task, ready_at: float, now: float) -> None:
        if task.place[0] < 500:
            task.place = (task.place[0] + self.batch, *task.place[1:])
        super()._wait(task, ready_at, now)


@caught_by("BrokerSuite::test_priority_holds_across_queues")
class QueueByQueue(Exchange):
    """The first queue is emptied before the second is looked at, however urgent what waits there."""

    def take(self, session: Session, limit: int, per_queue: Mapping[str, int], now: float) -> list[Delivery]:
        for name in session.queues:
            others = dict.fromkeys(session.queues, 0)
            if taken := super().take(session, limit, {**others, name: per_queue.get(name, limit)}, now):
                return taken
        return []


# ---------------------------------------------------------------- queues


@caught_by(
    "BrokerSuite::test_no_more_of_a_queue_than_it_may_have",
    "BrokerSuite::test_a_queue_that_is_full_does_not_block_the_others",
    "QueuesSuite::test_no_more_of_a_queue_runs_than_it_may",
)
class IgnoresPerQueue(MemoryBroker):
    """receive() does not look at per_queue."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return await super().receive(limit)


@caught_by(
    "BrokerSuite::test_only_subscribed_queues_are_read",
    "QueuesSuite::test_a_worker_takes_from_its_queues_only",
)
class ReadsEveryQueue(Exchange):
    """A worker is given what is in queues that it does not read."""

    def take(self, session: Session, limit: int, per_queue: Mapping[str, int], now: float) -> list[Delivery]:
        session.queues = tuple(dict.fromkeys((*session.queues, *self.names)))
        return super().take(session, limit, per_queue, now)


@caught_by("BrokerSuite::test_a_subscription_can_be_changed")
class SubscribesOnce(MemoryBroker):
    """A second subscribe() changes nothing, unless it pauses."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        if not queues or self._session is None:
            await super().subscribe(queues, worker, slots, lost)


@caught_by(
    "BrokerSuite::test_subscribing_to_nothing_pauses",
    "QueuesSuite::test_a_worker_may_find_all_its_queues_paused",
)
class NeverPauses(MemoryBroker):
    """subscribe(()) does nothing."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        await super().subscribe(queues or self.server.exchange.names, worker, slots, lost)


@caught_by("BrokerSuite::test_what_is_held_stays_held_during_a_pause")
class GivesBackWhenPaused(MemoryBroker):
    """What a worker holds goes to others as soon as it pauses."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        if self._session is not None and not queues:
            held = [task.delivery for task in self._session.held.values()]
            await super().settle([Outcome(delivery, Release()) for delivery in held])
        await super().subscribe(queues, worker, slots, lost)


# ---------------------------------------------------------------- what is held


@caught_by("BrokerSuite::test_a_cancelled_call_strands_none")
class StrandsOnCancel(MemoryBroker):
    """A cancelled receive() keeps what it took."""

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        got = await super().receive(limit, per_queue)
        await asyncio.sleep(0)
        return got


@caught_by("BrokerSuite::test_what_is_held_is_given_to_nobody_else")
class LendsTwice(MemoryBroker):
    """A worker that lives, and needs longer than a lease, loses what it holds to another."""

    lease_s = 0.5

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        while True:
            with self.server.step as now:
                tasks = list(self.server.ledger.tasks.values())
                late = {task.worker for task in tasks if task.where == "lent" and task.taken_at < now - self.lease_s}
            for worker in late:
                await self.evict(str(worker))
            try:
                async with asyncio.timeout(self.lease_s / 2):
                    return await super().receive(limit, per_queue)
            except TimeoutError:
                continue


@caught_by("BrokerSuite::test_what_a_stopped_reader_held_is_not_lost")
class LosesWhatItHeldAtItsStop(MemoryBroker):
    """What a worker holds when it stops comes to nobody any more."""

    async def stop(self) -> None:
        if self._session is not None:
            held = [task.delivery for task in self._session.held.values()]
            await super().settle([Outcome(delivery, Ack()) for delivery in held])
        await super().stop()


@caught_by("BrokerSuite::test_clear_takes_what_is_held_too")
class ClearsAllButTheHeld(MemoryBroker):
    """What a worker holds while everything is deleted comes back when it is not finished."""

    async def clear(self) -> None:
        session = self._session
        held = [] if session is None else [task.envelope for task in session.held.values()]
        await super().clear()
        await super().send([replace(envelope, crashes=0) for envelope in held])
