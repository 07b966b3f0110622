"""Triggers around the broker. The engine calls them, a broker never does, so every broker has them.

Arguments are *broker* and *storage* (the components), *worker* (None in a client), and what each trigger names.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.hookspecs._kept import DELIVERY, DRAFT, READ_RECORD, RECORD
from qtasks_core.hookspecs._marker import hookspec, keeps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Broker, Delivery, Results, TaskRecord, Worker
    from qtasks_core.options import Draft

__all__ = [
    "broker_add_after",
    "broker_add_before",
    "broker_add_worker",
    "broker_flush_all",
    "broker_get",
    "broker_listen_start",
    "broker_remove_finished_task",
    "broker_running_older_tasks",
    "broker_start",
    "broker_stop",
    "broker_update",
]


@hookspec
def broker_start(broker: Broker, worker: Worker | None) -> None:
    """Called when the broker is about to start, in a client or a worker.

    Notifies. Not hot. The result is ignored; one that raises stops the start. Since 0.1.
    """


@hookspec
def broker_stop(broker: Broker, worker: Worker | None) -> None:
    """Called when the broker is about to stop: what was added is written.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """


@hookspec
def broker_listen_start(broker: Broker, worker: Worker) -> None:
    """Called when a worker begins to receive.

    Notifies. Not hot. Goes after `worker_start`. The result is ignored; one that raises stops the start. Since 0.1.
    """


@hookspec
@keeps(DRAFT)
def broker_add_before(broker: Broker, storage: Results, message: Draft) -> Draft | None:
    """Called when a task is about to be sent, before the storage and the server see it.

    Replaces message. Hot. Goes after `qtasks_add_task_before_broker`, before `storage_add`. Return a draft, or None
    to leave it: all but the uuid may change. One that raises fails this call only. Since 0.1.
    """


@hookspec
def broker_add_after(broker: Broker, storage: Results, message: Draft) -> None:
    """Called when storage and server have a task.

    Notifies. Hot. Goes after `qtasks_add_task_after_broker`. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(DELIVERY)
def broker_add_worker(broker: Broker, worker: Worker, delivery: Delivery) -> Delivery | None:
    """Called when a delivery goes to the worker.

    Replaces delivery. Hot. Goes before `worker_add`. Return a delivery, or None to leave it: its uuid, attempt,
    queue and token may not change. One that raises fails this task only. Since 0.1.
    """


@hookspec
@keeps(READ_RECORD)
def broker_get(broker: Broker, task: TaskRecord) -> TaskRecord | None:
    """Called when a record was read through the broker.

    Replaces task. Not hot. The same point as `storage_get`, before it. Return a record, or None to leave it: its uuid,
    attempt and final status may not change. Since 0.1.
    """


@hookspec
@keeps(RECORD)
def broker_update(broker: Broker, record: TaskRecord) -> TaskRecord | None:
    """Called when a record with a status other than final is about to be written.

    Replaces record. Hot. Return a record, or None to leave it: its uuid, attempt and status may not change. One that
    raises fails this task only. Since 0.1.
    """


@hookspec
@keeps(RECORD)
def broker_remove_finished_task(broker: Broker, storage: Results, record: TaskRecord) -> TaskRecord | None:
    """Called when a final record is about to be written and its delivery settled.

    Replaces record. Hot. Goes after `worker_remove_finished_task`. Return a record, or None to leave it: its uuid,
    attempt and status may not change. One that raises makes it a record of that error; the task is not run again.
    Since 0.1.
    """


@hookspec
def broker_running_older_tasks(broker: Broker, worker: Worker, deliveries: Sequence[Delivery]) -> None:
    """Called when a worker received deliveries of a dead or cut-off worker.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """


@hookspec
def broker_flush_all(broker: Broker) -> None:
    """Called when all data of the app is about to be deleted from the broker.

    Notifies. Not hot. Goes after `qtasks_flush_all`. The result is ignored. Since 0.1.
    """
