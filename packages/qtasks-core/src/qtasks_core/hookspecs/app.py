"""Triggers of the app: what its users call, and what plugins add when it is built.

Arguments are *qtasks* (the face of the app that was made first), *broker* and *global_config* (its components), and
what each trigger names. The `qtasks_register_*` triggers and `qtasks_configure` are called while modules are
imported, where no event loop runs: their implementations are plain functions.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.hookspecs._kept import DECLARED, DRAFT, READ_TASK
from qtasks_core.hookspecs._marker import hookspec, keeps, synchronous

if TYPE_CHECKING:
    from inspect import Parameter

    from qtasks_core.app import AppFace
    from qtasks_core.contract import Broker, GlobalConfig, Starter
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.options import Draft
    from qtasks_core.task import TaskSnapshot

__all__ = [
    "qtasks_add_task_after_broker",
    "qtasks_add_task_before_broker",
    "qtasks_configure",
    "qtasks_flush_all",
    "qtasks_get",
    "qtasks_ping",
    "qtasks_register_injector",
    "qtasks_register_task",
    "qtasks_stop",
]


@hookspec
@keeps(DRAFT)
def qtasks_add_task_before_broker(qtasks: AppFace, broker: Broker, message: Draft) -> Draft | None:
    """Called when a task is about to be sent, before its arguments are encoded and it enters a batch.

    Replaces message. Hot. Goes before `broker_add_before`. Return a draft, or None to leave it: all but the uuid may
    change. One that raises fails this call only. Since 0.1.
    """


@hookspec
def qtasks_add_task_after_broker(qtasks: AppFace, broker: Broker, message: Draft) -> None:
    """Called when the broker has a task safe.

    Notifies. Hot. Goes before `broker_add_after`. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(READ_TASK)
def qtasks_get(qtasks: AppFace, broker: Broker, task: TaskSnapshot[Any]) -> TaskSnapshot[Any] | None:
    """Called when `app.get` found a task, before the caller has it.

    Replaces task. Not hot. Goes after `broker_get` and `storage_get`. Return a task, or None to leave it: its uuid,
    attempt and final status may not change. Since 0.1.
    """


@hookspec
def qtasks_stop(qtasks: AppFace, starter: Starter) -> None:
    """Called when the app is about to stop: a worker in this process is asked to end, its tasks may still finish.

    Notifies. Not hot. Goes before `worker_stop`. The result is ignored. Since 0.1.
    """


@hookspec
def qtasks_ping(qtasks: AppFace, global_config: GlobalConfig | None) -> None:
    """Called when `app.ping` asks whether the app answers.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """


@hookspec
def qtasks_flush_all(qtasks: AppFace, broker: Broker) -> None:
    """Called when all data of the app is about to be deleted.

    Notifies. Not hot. Goes before `broker_flush_all` and `storage_flush_all`. The result is ignored. Since 0.1.
    """


@hookspec
@synchronous
def qtasks_configure(qtasks: AppFace) -> None:
    """Called when the app was built: add plugins and middlewares here, before its tasks are declared.

    Notifies. Not hot. Synchronous. The result is ignored. Since 0.1.
    """


@hookspec
@synchronous
@keeps(DECLARED)
def qtasks_register_task(qtasks: AppFace, task: TaskDefinition) -> TaskDefinition | None:
    """Called when a task was declared: add injectors and middlewares here rather than on a hot trigger.

    Replaces task. Not hot. Synchronous. Return a definition, such as `task.providing(…)` or
    `task.with_middlewares(…)`, or None to leave it: its name and function may not change. One that raises fails the
    declaration. Tasks that were declared before the plugin came are not told. Since 0.1.
    """


@hookspec(firstresult=True)
@synchronous
def qtasks_register_injector(qtasks: AppFace, task: TaskDefinition, parameter: Parameter) -> Any:
    """Called when a declared task has a parameter that a plugin may provide (`Depends`, a state): one by one.

    Replaces nothing: the first answer wins. Not hot. Synchronous. Goes after `qtasks_register_task`. Return an
    `Injector`, which provides the parameter for each run, or None when it is not yours. One that raises fails the
    declaration. Since 0.1.
    """
