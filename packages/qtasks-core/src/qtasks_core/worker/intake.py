"""What arrives: a delivery becomes a run, or is settled at once with a reason."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qtasks_core.contract import Dead, Outcome
from qtasks_core.errors import UnknownWireError, WireError
from qtasks_core.messages import envelope_of
from qtasks_core.wire import unpack_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import Delivery, Envelope, Message
    from qtasks_core.worker.execution import Plan, TaskExecution
    from qtasks_core.worker.outcomes import OutcomeMaker

__all__ = ["Intake"]

logger = logging.getLogger("qtasks.worker")

_MOST_WARNINGS = 1000
_LONGEST_REASON = 500
"""Names come from payloads: neither the log nor what is remembered of it may grow without end."""


class Intake:
    """Opens deliveries.

    Parameters:
        plans: The compiled tasks by name.
        outcomes: Makes the outcomes of what does not run.
        config: The app's settings.
    """

    def __init__(self, plans: Mapping[str, Plan], outcomes: OutcomeMaker, config: QueueConfig) -> None:
        self._plans = plans
        self._outcomes = outcomes
        self._config = config
        self._unknown: set[str] = set()

    def open(self, delivery: Delivery, now: float) -> TaskExecution | Outcome:
        """Return the run of a delivery, or the outcome of one that does not run; whatever it is, it is one of the two.

        Parameters:
            delivery: What was received.
            now: UTC epoch seconds.
        """
        envelope = delivery.envelope
        if envelope is None:
            logger.error("an undecodable message of %d bytes is dead-lettered", len(delivery.raw))
            return self._outcomes.dead(delivery, "the envelope is undecodable", now)
        try:
            return self._plan(delivery, envelope, unpack_message(envelope.body), now)
        except UnknownWireError as error:
            return self._park(delivery, envelope, str(error), now)
        except WireError as error:
            logger.error("task %s is dead-lettered: %s", envelope.uuid, error)  # noqa: TRY400  # its traceback is ours
            return self._outcomes.dead(delivery, str(error), now)
        except Exception as error:  # its slot, and what arrived with it, must not be lost
            logger.exception("a message that cannot be opened is dead-lettered")
            return Outcome(delivery, Dead(f"it cannot be opened: {error!r}"[:_LONGEST_REASON]))

    def _plan(self, delivery: Delivery, envelope: Envelope, message: Message, now: float) -> TaskExecution | Outcome:
        plan = self._plans.get(message.task_name)
        if plan is None:
            return self._park(delivery, envelope, f"no worker knows the task name {message.task_name!r}", now)
        if delivery.crashes >= self._config.max_deliveries:
            reason = (
                f"its worker died {delivery.crashes} times while it ran (max_deliveries {self._config.max_deliveries})"
            )
            logger.error("task %s %s is dead-lettered: %s", plan.name, envelope.uuid, reason)
            return self._outcomes.dead(delivery, reason, now, plan.name)
        if plan.is_at_most_once and (delivery.suspect or delivery.crashes):
            reason = "its worker died while it ran, and ack='early' runs it at most once"
            return self._outcomes.dead(delivery, reason, now, plan.name)
        execution = plan.make_execution(plan, delivery, message, now)
        if envelope.expires_at is not None and envelope.expires_at <= now:
            return self._outcomes.cancelled(execution, "expired before it started", now)
        return execution

    def park(self, execution: TaskExecution, reason: str, now: float) -> Outcome:
        """Put a run back whose arguments this worker cannot read."""
        return self._park(execution.delivery, envelope_of(execution.delivery), reason, now)

    def _park(self, delivery: Delivery, envelope: Envelope, reason: str, now: float) -> Outcome:
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        parked_for = now - (envelope.parked_at or now)
        if parked_for >= self._config.unknown_ttl:
            reason = f"{reason}, for {parked_for:.0f} s (unknown_ttl {self._config.unknown_ttl:g})"
            logger.error("task %s is dead-lettered: %s", envelope.uuid, reason)
            return self._outcomes.dead(delivery, reason, now)
        if reason not in self._unknown and len(self._unknown) < _MOST_WARNINGS:
            self._unknown.add(reason)
            logger.warning("task %s is parked for other workers: %s", envelope.uuid, reason)
        return self._outcomes.parked(delivery, envelope, now)
