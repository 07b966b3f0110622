"""A delivery that this worker holds, from its arrival to its settling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from qtasks_core.contract import Delivery
    from qtasks_core.worker.execution import TaskExecution

__all__ = ["Run"]


class Run:
    """What the worker knows of one held delivery.

    Parameters:
        delivery: The delivery.
        started_at: When it arrived (UTC epoch seconds).
    """

    __slots__ = (
        "cancel_reason",
        "delivery",
        "execution",
        "is_ending",
        "is_gated",
        "is_lost",
        "is_marked",
        "is_suspect",
        "started_at",
        "task",
        "task_name",
    )

    def __init__(self, delivery: Delivery, started_at: float) -> None:
        self.delivery = delivery
        self.started_at = started_at
        self.is_suspect = delivery.suspect or delivery.crashes > 0
        """Another worker had it before."""
        self.task_name = ""
        self.task: asyncio.Task[None] | None = None
        self.execution: TaskExecution | None = None
        self.cancel_reason: str | None = None
        """Why somebody asked for its end."""
        self.is_ending = False
        """What becomes of it is on its way to the server: nothing else may."""
        self.is_lost = False
        """It is not ours any more: what becomes of it is not written."""
        self.is_marked = False
        """Its record says that it runs."""
        self.is_gated = False
        """It is one that the suspect gate counts."""

    @property
    def is_cancellable(self) -> bool:
        """Whether its run ends when it is cancelled; one in a thread of this process only hears of it."""
        execution = self.execution
        return execution is not None and (execution.kind.startswith("async") or execution.plan.executor.stops == "kill")

    @property
    def is_waiting(self) -> bool:
        """Whether it has a crash, and neither runs nor may run yet."""
        return self.delivery.crashes > 0 and self.task is None and not self.is_gated

    @property
    def is_replay(self) -> bool:
        """Whether it is a dead letter that was sent again."""
        return self.delivery.envelope is not None and self.delivery.envelope.replays > 0
