"""How much of each queue a worker may take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from qtasks_core.worker.run import Run

__all__ = ["Quotas"]


class Quotas:
    """Counts the runs of queues that have a concurrency of their own.

    Parameters:
        limits: Most runs of a queue at the same time; one that is not named has no limit of its own.
        runs: The worker's.
    """

    def __init__(self, limits: Mapping[str, int], runs: Collection[Run]) -> None:
        self._limits = limits
        self._runs = runs
        self.is_short = False
        """When it was last asked, a queue was full: who waits for deliveries has to ask again when a slot is free."""

    def left(self) -> dict[str, int] | None:
        """Return how much of each limited queue may be taken; None when none is limited."""
        if not self._limits:
            return None
        running = Counter(run.delivery.envelope.queue for run in self._runs if run.delivery.envelope is not None)
        left = {queue: max(0, limit - running[queue]) for queue, limit in self._limits.items()}
        self.is_short = not all(left.values())
        return left
