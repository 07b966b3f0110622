"""Triggers around the storage. The engine calls them, a storage never does, so every storage has them.

Arguments are *storage* (the component; only a full `Storage` keeps records for others to read), *worker* (the
worker), and what each trigger names.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.hookspecs._kept import READ_RECORD, READ_RECORDS, RECORD
from qtasks_core.hookspecs._marker import hookspec, keeps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery, Results, Storage, TaskRecord, Worker

__all__ = [
    "storage_add",
    "storage_add_process",
    "storage_delete_finished_tasks",
    "storage_flush_all",
    "storage_get",
    "storage_get_all",
    "storage_remove_finished_task",
    "storage_running_older_tasks",
    "storage_start",
    "storage_stop",
    "storage_update",
]


@hookspec
def storage_start(storage: Results) -> None:
    """Called when the storage is about to start, in a client or a worker.

    Notifies. Not hot. Goes before `broker_start`. The result is ignored; one that raises stops the start. Since 0.1.
    """


@hookspec
def storage_stop(storage: Results) -> None:
    """Called when the storage is about to stop.

    Notifies. Not hot. Goes after `broker_stop`. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(RECORD)
def storage_add(storage: Results, record: TaskRecord) -> TaskRecord | None:
    """Called when the record of a new task is about to enter a batch.

    Replaces record. Hot. Goes after `broker_add_before`. Return a record, or None to leave it: its uuid, attempt
    and status may not change. One that raises fails this call only. Since 0.1.
    """


@hookspec
@keeps(RECORD)
def storage_add_process(storage: Results, record: TaskRecord) -> TaskRecord | None:
    """Called when status process is about to be written, of a task that outlives a moment or was taken over.

    Replaces record. Hot. Return a record, or None to leave it: its uuid, attempt and status may not change. One that
    raises is logged, and the record is written as it was: the task runs already. Since 0.1.
    """


@hookspec
@keeps(READ_RECORD)
def storage_get(storage: Results, task: TaskRecord) -> TaskRecord | None:
    """Called when a record was read.

    Replaces task. Not hot. The same point as `broker_get`, after it. Return a record, or None to leave it: its uuid,
    attempt and final status may not change. Since 0.1.
    """


@hookspec
@keeps(READ_RECORDS)
def storage_get_all(storage: Storage, tasks: Sequence[TaskRecord]) -> Sequence[TaskRecord] | None:
    """Called when several records were read at once (`app.get_many`).

    Replaces tasks. Not hot. Return records, or None to leave them: their uuids, attempts and final statuses may not
    change. Since 0.1.
    """


@hookspec
@keeps(READ_RECORD)
def storage_update(storage: Results, record: TaskRecord) -> TaskRecord | None:
    """Called when the record of a task that will run again is about to be written anew: a retry, or a replay.

    Replaces record. Not hot. Goes after `worker_task_error_retry`, before `broker_update`. Return a record, or None to
    leave it: its uuid, attempt and final status may not change. One that raises fails this task, or leaves the record
    of a replay as it is. Since 0.1.
    """


@hookspec
def storage_remove_finished_task(storage: Results, record: TaskRecord) -> None:
    """Called when a final record was written; not when an earlier one stays, or another worker has the task.

    Notifies. Hot. Goes after `worker_outcome`. The result is ignored. Since 0.1.
    """


@hookspec
def storage_running_older_tasks(storage: Results, worker: Worker, delivery: Delivery) -> None:
    """Called when a task taken over from another worker is about to run again.

    Notifies. Not hot. Goes after `broker_running_older_tasks`. The result is ignored. Since 0.1.
    """


@hookspec
def storage_delete_finished_tasks(storage: Results) -> None:
    """Called when expired final records are about to be swept by this process (memory, sqlite).

    Notifies. Not hot. Nothing waits for it. The result is ignored. Since 0.1.
    """


@hookspec
def storage_flush_all(storage: Results) -> None:
    """Called when all data of the app is about to be deleted from the storage.

    Notifies. Not hot. Goes after `broker_flush_all`. The result is ignored. Since 0.1.
    """
