"""Triggers of the worker, in the order in which one task meets them.

Arguments are *worker*, *execution* (one run of one task: delivery, message, args, kwargs, and `state` as scratch for
plugins), *record* (what is about to be written of it), and what each trigger names.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.hookspecs._kept import DELIVERY, EXECUTION, OUTCOME, RECORD
from qtasks_core.hookspecs._marker import hookspec, keeps

if TYPE_CHECKING:
    from qtasks_core.app import AppFace
    from qtasks_core.contract import Delivery, Execution, Outcome, TaskRecord, Worker

__all__ = [
    "worker_add",
    "worker_execute_after",
    "worker_execute_before",
    "worker_outcome",
    "worker_process_start",
    "worker_process_stop",
    "worker_remove_finished_task",
    "worker_run_task_before",
    "worker_start",
    "worker_stop",
    "worker_task_error_retry",
]


@hookspec
def worker_start(worker: Worker) -> None:
    """Called when a worker is about to take tasks: its components are started.

    Notifies. Not hot. Goes before `broker_listen_start`. The result is ignored; one that raises stops the start.
    Since 0.1.
    """


@hookspec
def worker_stop(worker: Worker) -> None:
    """Called when a worker stopped: what it had is written or given back.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(DELIVERY)
def worker_add(worker: Worker, delivery: Delivery) -> Delivery | None:
    """Called when a delivery arrived, before its arguments are decoded.

    Replaces delivery. Hot. Goes after `broker_add_worker`. Return a delivery, or None to leave it: its uuid, attempt,
    queue and token may not change. One that raises fails this task only. Since 0.1.
    """


@hookspec
def worker_execute_before(worker: Worker, execution: Execution) -> None:
    """Called when a slot is free and a task is about to run: its arguments are converted.

    Notifies. Hot. Goes before `worker_run_task_before`. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(EXECUTION)
def worker_run_task_before(worker: Worker, execution: Execution) -> Execution | None:
    """Called when a task is about to run, as the last chance to change it.

    Replaces execution. Hot. Goes after `worker_execute_before`. Return an execution of the same delivery, or None to
    leave it. One that raises `Postpone(delay=…)` gives the task back uncharged; any other error fails it. Since 0.1.
    """


@hookspec
@keeps(OUTCOME)
def worker_task_error_retry(
    worker: Worker, execution: Execution, error: BaseException, outcome: Outcome
) -> Outcome | None:
    """Called when a task failed and it is decided whether it is retried.

    Replaces outcome. Not hot. Return an outcome of the same delivery, or None to leave it. One that raises makes it an
    error; the task is not run again. Since 0.1.
    """


@hookspec
@keeps(RECORD)
def worker_remove_finished_task(worker: Worker, execution: Execution, record: TaskRecord) -> TaskRecord | None:
    """Called when a run has its final record, before its outcome is handed on.

    Replaces record. Hot. Goes before `broker_remove_finished_task`. Return a record, or None to leave it: its uuid,
    attempt and status may not change. One that raises makes it a record of that error; the task is not run again.
    Since 0.1.
    """


@hookspec
def worker_execute_after(worker: Worker, execution: Execution, record: TaskRecord | None) -> None:
    """Called when a run has ended; the record is None when it left none, as when it was given back.

    Notifies. Hot. Goes after `worker_remove_finished_task`, before `worker_outcome`. The result is ignored. Since 0.1.
    """


@hookspec
def worker_outcome(worker: Worker, outcome: Outcome) -> None:
    """Called when what became of a delivery is written, also of one that did not run (cancelled, dead, given back).

    Notifies. Hot. Goes before `storage_remove_finished_task`. The result is ignored. Since 0.1.
    """


@hookspec
def worker_process_start(qtasks: AppFace) -> None:
    """Called when a process of a `ProcessTaskExecutor` has imported its tasks: there, on the loop that it keeps.

    Notifies. Not hot. The result is ignored; one that raises stops the start. Since 0.1.
    """


@hookspec
def worker_process_stop(qtasks: AppFace) -> None:
    """Called when a process of a `ProcessTaskExecutor` is about to end by itself, there; who is killed is not told.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """
