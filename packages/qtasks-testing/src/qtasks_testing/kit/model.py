"""What a broker should know: the model that the state machine compares it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from qtasks_core.contract import Ack, Dead, Release, Retry
from qtasks_testing.kit.samples import envelope_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Delivery, Envelope

__all__ = ["Entry", "Model", "Verdict"]

Verdict = Ack | Retry | Release | Dead


@dataclass(eq=False)
class Entry:
    """One message as it should be."""

    envelope: Envelope
    number: int
    due_at: float | None = None
    holder: str | None = None
    end: str | None = None
    crashes: int = 0
    suspect: bool | None = False  # None: a release after a crash leaves it open
    first_time: bool = True  # its age counts until it was given back for the first time


@dataclass
class Model:
    """All messages, and who holds which."""

    strict: bool  # whether the lowest priority goes first
    entries: dict[UUID, Entry] = field(default_factory=dict)
    held: dict[str, list[Delivery]] = field(default_factory=dict)
    stale: list[tuple[str, Delivery]] = field(default_factory=list)
    numbers: int = 0

    def send(self, envelope: Envelope, now: float) -> bool:
        """Note a message; return whether it is new: what was acknowledged is forgotten, a dead letter is there."""
        known = self.entries.get(envelope.uuid)
        if known is not None and known.end != "acked":
            return False
        self.numbers += 1
        entry = Entry(envelope, self.numbers, crashes=envelope.crashes)
        self.entries[envelope.uuid] = entry
        self._wait(entry, envelope.delay_s, now)
        return True

    def ready(self, queues: Collection[str], now: float) -> list[Entry]:
        """Return what a worker of *queues* may get now."""
        waiting = [entry for entry in self.entries.values() if entry.holder is None and entry.end is None]
        return [entry for entry in waiting if entry.envelope.queue in queues and (entry.due_at or 0.0) <= now]

    def receive(self, worker: str, got: Sequence[Delivery], queues: Collection[str], now: float) -> None:
        """Check deliveries against what waits, and note them."""
        ready = self.ready(queues, now)
        taken = [self._taken(delivery, ready) for delivery in got]
        if self.strict:
            _check_order(taken, [entry for entry in ready if entry not in taken])
        for delivery, entry in zip(got, taken, strict=True):
            assert (worker, delivery) not in self.stale, f"cannot be told from an older one: {delivery}"
            entry.holder = worker
            self.held[worker].append(delivery)

    def _taken(self, delivery: Delivery, ready: Sequence[Entry]) -> Entry:
        envelope = envelope_of(delivery)
        entry = self.entries[envelope.uuid]
        assert any(entry is one for one in ready), f"not to be had: {entry}"
        expected = (entry.envelope.attempt, entry.envelope.priority, entry.envelope.body, entry.crashes)
        assert (envelope.attempt, envelope.priority, envelope.body, delivery.crashes) == expected
        assert entry.suspect is None or delivery.suspect == entry.suspect
        return entry

    def settle(self, worker: str, delivery: Delivery, verdict: Verdict, now: float) -> bool:
        """Note a verdict; return whether the delivery was the worker's own."""
        if delivery not in self.held[worker]:
            return False
        self.held[worker].remove(delivery)
        self.stale.append((worker, delivery))
        entry = self.entries[envelope_of(delivery).uuid]
        entry.holder = None
        if isinstance(verdict, Ack):
            entry.end = "acked"
        elif isinstance(verdict, Dead):
            entry.end = "dead"
        elif isinstance(verdict, Release):
            entry.suspect = None if entry.suspect else entry.suspect
            self._wait(entry, verdict.delay_s, now)
        else:
            entry.envelope, entry.crashes, entry.suspect = verdict.envelope, verdict.envelope.crashes, False
            self._wait(entry, verdict.envelope.delay_s, now)
        entry.first_time = False
        return True

    def count_held(self, queue: str) -> int:
        """Return how many messages of a queue are in somebody's hands."""
        return sum(entry.holder is not None and entry.envelope.queue == queue for entry in self.entries.values())

    def count_dead(self, queue: str) -> int:
        """Return how many dead letters a queue has."""
        return sum(entry.end == "dead" and entry.envelope.queue == queue for entry in self.entries.values())

    def outdated(self, worker: str) -> list[Delivery]:
        """Return the deliveries that a worker has no more."""
        return [delivery for owner, delivery in self.stale if owner == worker]

    def in_other_hands(self) -> list[tuple[str, Delivery]]:
        """Return the old owners and deliveries of messages that are held anew, perhaps by the same worker."""
        return [(owner, old) for owner, old in self.stale if self.entries[envelope_of(old).uuid].holder is not None]

    def evict(self, worker: str) -> list[Delivery]:
        """Note that a worker lost what it held, and return that."""
        lost, self.held[worker] = self.held[worker], []
        for delivery in lost:
            entry = self.entries[envelope_of(delivery).uuid]
            entry.holder, entry.suspect, entry.first_time = None, True, False
            entry.crashes += 1
            self.stale.append((worker, delivery))
        return lost

    def alive(self) -> Iterable[Entry]:
        """Return the messages that have no end yet."""
        return [entry for entry in self.entries.values() if entry.end is None]

    def _wait(self, entry: Entry, delay_s: float, now: float) -> None:
        entry.due_at = now + delay_s if delay_s > 0 else None
        entry.first_time = entry.first_time and delay_s <= 0


def _check_order(taken: Sequence[Entry], left: Sequence[Entry]) -> None:
    pairs = [*pairwise(taken), *((taken[-1], entry) for entry in left if taken)]
    for earlier, later in pairs:
        assert earlier.envelope.priority <= later.envelope.priority, f"{earlier} went before {later}"
        if earlier.envelope.priority == later.envelope.priority and earlier.first_time and later.first_time:
            assert earlier.number < later.number, f"{earlier} went before the older {later}"
