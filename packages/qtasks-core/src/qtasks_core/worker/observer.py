"""The worker's triggers: an object when a plugin answers any of them, else None, so that nothing is paid for none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery, Execution, Outcome, TaskExecutor, Worker
    from qtasks_core.engine import Engine
    from qtasks_core.triggers import Implementation, Triggers
    from qtasks_core.worker.execution import TaskExecution
    from qtasks_core.worker.outcomes import OutcomeMaker

__all__ = ["Observer"]

_TRIGGERS = (
    "broker_add_worker",
    "broker_listen_start",
    "broker_remove_finished_task",
    "broker_running_older_tasks",
    "broker_update",
    "storage_remove_finished_task",
    "task_executor_decode",
    "worker_add",
    "worker_execute_after",
    "worker_execute_before",
    "worker_outcome",
    "worker_remove_finished_task",
    "worker_run_task_before",
    "worker_start",
    "worker_stop",
)


class Observer:
    """Calls the worker's triggers from tuples that were frozen when the worker was built.

    Parameters:
        triggers: The app's triggers.
        worker: What plugins are told is the worker.
        engine: Its components.
    """

    def __init__(self, triggers: Triggers, worker: Worker, engine: Engine) -> None:
        self._triggers = triggers
        self._worker = worker
        self._broker = engine.broker
        self._storage = engine.storage
        self._clock = engine.context.clock
        self._chains: dict[str, tuple[Implementation, ...]] = {name: triggers.of(name) for name in _TRIGGERS}

    @classmethod
    def of(cls, triggers: Triggers, worker: Worker, engine: Engine) -> Observer | None:
        """Return an observer, or None when no plugin answers a trigger of the worker."""
        return cls(triggers, worker, engine) if any(triggers.of(name) for name in _TRIGGERS) else None

    async def started(self) -> None:
        """Tell that the worker starts and begins to receive."""
        await self._triggers.start(self._chains["worker_start"], worker=self._worker)
        await self._notify("broker_listen_start", broker=self._broker)

    async def stopped(self) -> None:
        """Tell that the worker stopped."""
        await self._notify("worker_stop")

    async def taken_over(self, deliveries: Sequence[Delivery]) -> None:
        """Tell of deliveries of a dead or cut-off worker."""
        await self._notify("broker_running_older_tasks", broker=self._broker, deliveries=deliveries)

    async def run(self, executor: TaskExecutor, execution: TaskExecution) -> Any:
        """Run a task with the triggers around it; return its result as it is to be serialised."""
        delivery = await self._replace("broker_add_worker", "delivery", execution.delivery, broker=self._broker)
        delivery = await self._replace("worker_add", "delivery", delivery)
        execution.delivery = delivery
        try:
            return await self._run(executor, execution)
        finally:
            execution.delivery = delivery  # whatever a plugin put there: this one is settled

    async def _run(self, executor: TaskExecutor, execution: TaskExecution) -> Any:
        execution.args, execution.kwargs = execution.plan.decode(execution.message)
        await self._notify("worker_execute_before", execution=execution)
        changed: Execution = await self._replace("worker_run_task_before", "execution", execution)
        result = await executor.run(changed)
        chain = self._chains["task_executor_decode"]
        return await self._triggers.replace(chain, "result", task_executor=executor, execution=changed, result=result)

    async def finished(self, execution: TaskExecution, outcome: Outcome, outcomes: OutcomeMaker) -> Outcome:
        """Let plugins see and change the record of a run; one that raises makes it an error."""
        try:
            outcome = await self._with_record(execution, outcome)
        except Exception as error:  # noqa: BLE001  # a replacing trigger that raises fails its task
            outcome = outcomes.error(execution, error, self._clock())
        await self._notify("worker_execute_after", execution=execution, record=outcome.record)
        await self.settled(outcome)
        return outcome

    async def settled(self, outcome: Outcome) -> None:
        """Tell what became of a delivery."""
        await self._notify("worker_outcome", outcome=outcome)
        if outcome.record is not None:
            await self._notify("storage_remove_finished_task", storage=self._storage, record=outcome.record)

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
