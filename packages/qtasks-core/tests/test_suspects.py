"""Which suspects may start together: a killer on its last chance is alone, and nobody waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qtasks_core.contract import Delivery, Envelope
from qtasks_core.naming import new_uuid
from qtasks_core.worker.suspects import SuspectGate


def delivery(crashes: int) -> Delivery:
    return Delivery(Envelope(new_uuid(), "default", b""), token=None, crashes=crashes, suspect=True)


def admit(gate: SuspectGate, *crashes: int) -> tuple[list[int], list[int]]:
    """Return the crashes of those that start and of those that are given back."""
    started, back = gate.admit([delivery(one) for one in crashes])
    return [one.crashes for one in started], [one.crashes for one in back]


def test_nothing_is_split_into_nothing() -> None:
    """And counts for nothing."""
    gate = SuspectGate(5)

    assert ([], []) == admit(gate)
    assert ([4], []) == admit(gate, 4)


def test_suspects_with_chances_left_start_together() -> None:
    """A charge more kills none of them."""
    assert ([1, 2, 3], []) == admit(SuspectGate(5), 1, 2, 3)


def test_one_on_its_last_chance_starts_alone() -> None:
    """The others are given back, uncharged; while it runs nobody else starts."""
    gate = SuspectGate(5)

    assert ([4], [1, 2]) == admit(gate, 1, 4, 2)
    assert ([], [1]) == admit(gate, 1)
    assert ([], [4]) == admit(gate, 4)
    gate.leave()
    assert ([1], []) == admit(gate, 1)


def test_of_several_on_their_last_chance_one_starts() -> None:
    """The likeliest killer first: the sooner it is told apart, the sooner the others run."""
    assert ([4], [4, 4, 3]) == admit(SuspectGate(5), 4, 4, 4, 3)
    assert ([7], [4, 5]) == admit(SuspectGate(5), 4, 7, 5)


def test_one_on_its_last_chance_waits_for_those_that_run() -> None:
    """It is given back until no other suspect is held here."""
    gate = SuspectGate(5)

    assert ([1, 1], []) == admit(gate, 1, 1)
    assert ([2], [4]) == admit(gate, 4, 2)
    for _ in range(3):
        assert ([], [4]) == admit(gate, 4)
        gate.leave()
    assert ([4], []) == admit(gate, 4)


@pytest.mark.parametrize("crashes", [1, 5])
def test_with_one_allowed_crash_every_suspect_is_on_its_last_chance(crashes: int) -> None:
    """One after the other."""
    gate = SuspectGate(1)

    assert ([crashes], [crashes]) == admit(gate, crashes, crashes)
    gate.leave()
    assert ([crashes], []) == admit(gate, crashes)


@settings(max_examples=200)
@given(st.integers(2, 6), st.lists(st.lists(st.integers(1, 5), max_size=6), max_size=8))
def test_an_empty_worker_always_starts_something(most: int, batches: list[list[int]]) -> None:
    """When all that was held is settled, a batch is never given back as a whole: no task waits for ever."""
    gate = SuspectGate(most)
    for batch in batches:
        crashes = [min(one, most - 1) for one in batch]
        started, back = admit(gate, *crashes)
        assert sorted(crashes) == sorted(started + back)
        assert bool(crashes) == bool(started)
        for _ in started:
            gate.leave()


class Neighbours(RuleBasedStateMachine):
    """Deliveries arrive and end in any order; the gate's promise is looked at after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = SuspectGate(4)
        self.held: list[Delivery] = []
        self.given_back = 0

    @rule(crashes=st.lists(st.integers(1, 3), min_size=1, max_size=5))
    def arrive(self, crashes: list[int]) -> None:
        arrived = [delivery(one) for one in crashes]
        was_empty = not self.held
        started, back = self.gate.admit(arrived)
        assert sorted(map(id, arrived)) == sorted(map(id, started + back))
        assert started or not was_empty
        self.held += started
        self.given_back += len(back)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.held.remove(data.draw(st.sampled_from(self.held)))
        self.gate.leave()

    @invariant()
    def the_last_chance_is_taken_alone(self) -> None:
        assert len(self.held) == 1 or all(one.crashes < 3 for one in self.held)


TestNeighbours = Neighbours.TestCase
TestNeighbours.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
