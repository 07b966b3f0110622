"""The worker's triggers that are not hot: a plugin that answers one may come at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qtasks_core.contract import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Broker, Delivery, Execution, Outcome, Results, Worker
    from qtasks_core.triggers import Triggers

__all__ = ["Lifecycle"]


class Lifecycle:
    """Tells plugins how a worker's life goes.

    Parameters:
        triggers: The app's triggers.
        worker: What plugins are told is the worker.
        broker: What it takes from.
        storage: Where its records are.
    """

    def __init__(self, triggers: Triggers, worker: Worker, broker: Broker, storage: Results) -> None:
        self._triggers = triggers
        self._worker = worker
        self._broker = broker
        self._storage = storage

    async def starts(self) -> None:
        """Tell that the worker is about to start; a plugin that raises stops the start."""
        await self._triggers.start(self._triggers.of("worker_start"), worker=self._worker)

    async def listens(self) -> None:
        """Tell that it begins to receive; a plugin that raises stops the start."""
        chain = self._triggers.of("broker_listen_start")
        await self._triggers.start(chain, broker=self._broker, worker=self._worker)

    async def took_over(self, deliveries: Sequence[Delivery]) -> None:
        """Tell of deliveries of a dead or cut-off worker."""
        chain = self._triggers.of("broker_running_older_tasks")
        await self._triggers.notify(chain, broker=self._broker, worker=self._worker, deliveries=deliveries)

    async def failed(self, execution: Execution, error: BaseException, outcome: Outcome) -> Outcome:
        """Let plugins decide whether a failed task is tried again, and see the record of one that is."""
        if outcome.record is None or outcome.record.status not in {"error", "retry"}:
            return outcome
        if chain := self._triggers.of("worker_task_error_retry"):
            values = {"worker": self._worker, "execution": execution, "error": error, "outcome": outcome}
            outcome = await self._triggers.replace(chain, "outcome", **values)
        if isinstance(outcome.verdict, Retry) and (chain := self._triggers.of("storage_update")):
            record = await self._triggers.replace(chain, "record", storage=self._storage, record=outcome.record)
            outcome = msgspec.structs.replace(outcome, record=record)
        return outcome

    async def runs_again(self, delivery: Delivery) -> None:
        """Tell that a task which another worker had before is about to run."""
        if chain := self._triggers.of("storage_running_older_tasks"):
            await self._triggers.notify(chain, storage=self._storage, worker=self._worker, delivery=delivery)

    async def stopped(self) -> None:
        """Tell that the worker stopped."""
        await self._triggers.notify(self._triggers.of("worker_stop"), worker=self._worker)
