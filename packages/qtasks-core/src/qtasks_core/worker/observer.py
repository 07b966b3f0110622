"""The worker's hot triggers: an object when a plugin answers one of them, else None, so that none costs nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import FINAL, Retry

if TYPE_CHECKING:
    from qtasks_core.contract import Execution, Outcome, TaskExecutor, TaskRecord, Worker
    from qtasks_core.engine import Engine
    from qtasks_core.triggers import Implementation, Triggers
    from qtasks_core.worker.execution import TaskExecution
    from qtasks_core.worker.outcomes import OutcomeMaker

__all__ = ["Observer"]

logger = logging.getLogger("qtasks.worker")

_OF_WRITTEN = ("storage_remove_finished_task", "worker_outcome")
_TRIGGERS = (
    *_OF_WRITTEN,
    "broker_add_worker",
    "broker_remove_finished_task",
    "broker_update",
    "storage_add_process",
    "task_executor_decode",
    "worker_add",
    "worker_execute_after",
    "worker_execute_before",
    "worker_remove_finished_task",
    "worker_run_task_before",
)


class Observer:
    """Calls the worker's hot triggers from tuples that are frozen when it starts.

    Parameters:
        chains: The implementations by trigger.
        triggers: The app's triggers.
        worker: What plugins are told is the worker.
        engine: Its components.
    """

    def __init__(
        self, chains: dict[str, tuple[Implementation, ...]], triggers: Triggers, worker: Worker, engine: Engine
    ) -> None:
        self._chains = chains
        self._triggers = triggers
        self._worker = worker
        self._broker = engine.broker
        self._storage = engine.storage
        self._clock = engine.context.clock
        self.sees_written = any(chains[name] for name in _OF_WRITTEN)
        """A plugin wants to know of outcomes that are written."""
        self.sees_marks = bool(chains["storage_add_process"])
        """A plugin wants to see records of status process."""

    @classmethod
    def of(cls, triggers: Triggers, worker: Worker, engine: Engine) -> Observer | None:
        """Freeze the triggers; return an observer, or None when no plugin answers any."""
        chains = triggers.freeze(worker, _TRIGGERS)
        return cls(chains, triggers, worker, engine) if any(chains.values()) else None

    async def run(self, execution: TaskExecution) -> Any:
        """Run a task with the triggers around it; return its result as it is to be serialised."""
        delivery = await self._replace("broker_add_worker", "delivery", execution.delivery, broker=self._broker)
        delivery = await self._replace("worker_add", "delivery", delivery)
        execution.delivery = delivery
        try:
            return await self._run(execution.plan.executor, execution)
        finally:
            execution.delivery = delivery  # whatever a plugin put there: this one is settled

    async def finished(self, execution: TaskExecution, outcome: Outcome, outcomes: OutcomeMaker) -> Outcome:
        """Let plugins see and change the record of a run; one that raises makes it an error."""
        try:
            outcome = await self._with_record(execution, outcome)
        except Exception as error:
            logger.exception("task %s ends with the error of a plugin that was given its record", execution.task_name)
            outcome = outcomes.error(execution, error, self._clock())
        await self._notify("worker_execute_after", execution=execution, record=outcome.record)
        return outcome

    async def written(self, outcome: Outcome) -> None:
        """Tell what became of a delivery, when it is written."""
        await self._notify("worker_outcome", outcome=outcome)
        if outcome.record is not None and outcome.record.status in FINAL:
            await self._notify("storage_remove_finished_task", storage=self._storage, record=outcome.record)

    async def marked(self, record: TaskRecord) -> TaskRecord:
        """Return a record of status process as plugins want it; where one raises it is written as it was."""
        chain = self._chains["storage_add_process"]
        return await self._triggers.replace_or_keep(
            chain, record, "is written with status process", worker=self._worker, storage=self._storage
        )

    async def _run(self, executor: TaskExecutor, execution: TaskExecution) -> Any:
        execution.open()
        await self._notify("worker_execute_before", execution=execution)
        changed: Execution = await self._replace("worker_run_task_before", "execution", execution)
        result = await execution.decoded(await executor.run(changed))
        chain = self._chains["task_executor_decode"]
        return await self._triggers.replace(chain, "result", task_executor=executor, execution=changed, result=result)

    async def _with_record(self, execution: TaskExecution, outcome: Outcome) -> Outcome:
        record = outcome.record
        if record is None:
            return outcome
        if isinstance(outcome.verdict, Retry):
            record = await self._replace("broker_update", "record", record, broker=self._broker)
        else:
            record = await self._replace("worker_remove_finished_task", "record", record, execution=execution)
            record = await self._replace(
                "broker_remove_finished_task", "record", record, broker=self._broker, storage=self._storage
            )
        return msgspec.structs.replace(outcome, record=record)

    async def _replace(self, trigger: str, key: str, value: Any, **values: Any) -> Any:
        chain = self._chains[trigger]
        if not chain:
            return value
        return await self._triggers.replace(chain, key, worker=self._worker, **{key: value}, **values)

    async def _notify(self, trigger: str, **values: Any) -> None:
        if chain := self._chains[trigger]:
            await self._triggers.notify(chain, worker=self._worker, **values)
