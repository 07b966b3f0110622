"""Triggers of the task executor, in the order in which one run meets them.

Arguments are *task_executor*, *execution* (one run of one task: delivery, message, args, kwargs, and `state` as
scratch for plugins), and what each trigger names. Where a trigger replaces, one that raises fails this task only.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.hookspecs._kept import ARGUMENTS, RESULTS
from qtasks_core.hookspecs._marker import hookspec, keeps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.contract import Execution, TaskExecutor
    from qtasks_core.errors import TaskPluginTriggerError
    from qtasks_core.signatures import Signature

__all__ = [
    "task_executor_after_execute",
    "task_executor_after_execute_result_replace",
    "task_executor_args_replace",
    "task_executor_before_execute",
    "task_executor_decode",
    "task_executor_middlewares_execute",
    "task_executor_run_task",
    "task_executor_run_task_gen",
    "task_executor_run_task_trigger_error",
    "task_executor_task_close",
]


@hookspec
@keeps(ARGUMENTS)
def task_executor_args_replace(
    task_executor: TaskExecutor,
    execution: Execution,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    args_info: Signature,
) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
    """Called when arguments are converted and the function is not yet called; *args_info* is the function's signature.

    Replaces (args, kwargs). Hot. The first of a run. Return a pair of args and kwargs, or None to leave both. Since
    0.1.
    """


@hookspec
def task_executor_before_execute(task_executor: TaskExecutor, execution: Execution) -> None:
    """Called when the arguments are final and the run begins.

    Notifies. Hot. Goes after `task_executor_args_replace`. The result is ignored. Since 0.1.
    """


@hookspec
def task_executor_middlewares_execute(
    task_executor: TaskExecutor, execution: Execution, middlewares: Sequence[Any]
) -> None:
    """Called when the task's middlewares are about to run, outermost first.

    Notifies. Hot. Goes after `task_executor_before_execute`. The result is ignored. Since 0.1.
    """


@hookspec
def task_executor_run_task(task_executor: TaskExecutor, execution: Execution, result: Any) -> Any:
    """Called when the function returned.

    Replaces result. Hot. Goes before `task_executor_after_execute`. Return a result, `Replace(None)` to make it None,
    or None to leave it. Since 0.1.
    """


@hookspec
@keeps(RESULTS)
def task_executor_run_task_gen(
    task_executor: TaskExecutor, execution: Execution, results: list[Any]
) -> list[Any] | None:
    """Called when a generator ended; *results* are the values that it yielded, as its handler returned them.

    Replaces results. Hot. Goes before `task_executor_run_task`. Return a list, or None to leave it: it is the task's
    result, unless the generator returned a value of its own. Since 0.1.
    """


@hookspec(firstresult=True)
def task_executor_run_task_trigger_error(
    task_executor: TaskExecutor, execution: Execution, error: TaskPluginTriggerError
) -> Any:
    """Called when the task raised `TaskPluginTriggerError`: a plugin is asked for the result.

    Replaces result: the first answer wins. Not hot. Goes before `task_executor_run_task`. Return a result,
    `Replace(None)` for the result None, or None when it is not yours; without an answer the error is raised on. Since
    0.1.
    """


@hookspec
def task_executor_after_execute(task_executor: TaskExecutor, execution: Execution) -> None:
    """Called when the run ended without an error.

    Notifies. Hot. Goes after `task_executor_run_task`. The result is ignored. Since 0.1.
    """


@hookspec
def task_executor_after_execute_result_replace(task_executor: TaskExecutor, execution: Execution, result: Any) -> Any:
    """Called when the run ended without an error, for a last change of its result.

    Replaces result. Hot. Goes after `task_executor_after_execute`. Return a result, `Replace(None)` to make it None,
    or None to leave it. Since 0.1.
    """


@hookspec
def task_executor_decode(task_executor: TaskExecutor, execution: Execution, result: Any) -> Any:
    """Called when the result is about to be serialised: make of it what can travel.

    Replaces result. Hot. Goes after `task_executor_task_close`. Return a result, `Replace(None)` to make it None, or
    None to leave it. Since 0.1.
    """


@hookspec
def task_executor_task_close(task_executor: TaskExecutor, execution: Execution, error: BaseException | None) -> None:
    """Called when a run is over, always, also after an error or a cancel: release what the task held.

    Notifies. Hot. The last of the executor's steps. The result is ignored. Since 0.1.
    """
