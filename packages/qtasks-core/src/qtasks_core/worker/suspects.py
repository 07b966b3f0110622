"""Which deliveries may start together: one that may kill its worker for the last time runs beside no other suspect.

A worker's death charges a crash to everything it held. So that innocent neighbours of a killer are not charged to
death with it, a delivery on its last allowed crash waits its turn: others that had a crash are given back, uncharged,
until it is the only one of its kind here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery

__all__ = ["SuspectGate"]


class SuspectGate:
    """Counts the deliveries with crashes that this worker holds, and says which of new ones may start.

    Parameters:
        max_deliveries: Worker deaths that one task may cause.
    """

    def __init__(self, max_deliveries: int) -> None:
        self._last = max_deliveries - 1
        self._held = 0
        self._alone = False

    @property
    def is_alone(self) -> bool:
        """Whether one on its last allowed crash is here."""
        return self._alone

    def admit(self, deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
        """Split deliveries that have crashes into those that start and those that are given back.

        What is given back must be settled before the others start: only then is it safe from a charge. Each that starts
        must `leave` later.
        """
        if self._alone:
            return [], list(deliveries)
        last_chance = [one for one in deliveries if one.crashes >= self._last]
        others = [one for one in deliveries if one.crashes < self._last]
        if last_chance and not self._held:
            chosen = max(last_chance, key=lambda one: one.crashes)
            self._held, self._alone = 1, True
            return [chosen], [one for one in deliveries if one is not chosen]
        self._held += len(others)
        return others, last_chance

    def leave(self) -> None:
        """One that started is settled or lost."""
        self._held -= 1
        if not self._held:
            self._alone = False
