"""The triggers that plugins answer, one function each, named `{component}_{function}_{addition}`.

A plugin marks its methods with `pluggy.HookimplMarker("qtasks")`. Arguments are given by name, and an implementation
takes those it needs. It is a function (on the event loop: it must not block) or a coroutine function, except where a
trigger is synchronous. Those of several plugins are called in order: tryfirst, last registered first, trylast.

- *Replaces*: return a new value, or None to leave it; the next plugin is given the result. `Replace(x)` sets any x,
  also None. One that raises fails the call or the task that it belongs to, and so does one that changes what a
  message, a delivery or a record is known by; where it is declared stands what that is.
- *Notifies*: the result is ignored. One that raises is logged with plugin and trigger, at most once a second, and
  counted; the work goes on. Only a `*_start` that raises stops the start, and what had begun is stopped again.
- *Hot*: called for each task, and frozen while the app is at work: a plugin that comes then is refused. The others are
  called once per call or per lifetime, and a plugin may come at any time.
"""

from __future__ import annotations

from qtasks_core.hookspecs.app import (
    qtasks_add_task_after_broker,
    qtasks_add_task_before_broker,
    qtasks_configure,
    qtasks_flush_all,
    qtasks_get,
    qtasks_ping,
    qtasks_register_injector,
    qtasks_register_task,
    qtasks_stop,
)
from qtasks_core.hookspecs.broker import (
    broker_add_after,
    broker_add_before,
    broker_add_worker,
    broker_flush_all,
    broker_get,
    broker_listen_start,
    broker_remove_finished_task,
    broker_running_older_tasks,
    broker_start,
    broker_stop,
    broker_update,
)
from qtasks_core.hookspecs.global_config import (
    global_config_get,
    global_config_get_all,
    global_config_get_match,
    global_config_set,
    global_config_set_status,
    global_config_start,
    global_config_stop,
)
from qtasks_core.hookspecs.starter import (
    starter_start,
    starter_stop,
)
from qtasks_core.hookspecs.stats import (
    stats_inspect,
)
from qtasks_core.hookspecs.storage import (
    storage_add,
    storage_add_process,
    storage_delete_finished_tasks,
    storage_flush_all,
    storage_get,
    storage_get_all,
    storage_remove_finished_task,
    storage_running_older_tasks,
    storage_start,
    storage_stop,
    storage_update,
)
from qtasks_core.hookspecs.task_executor import (
    task_executor_after_execute,
    task_executor_after_execute_result_replace,
    task_executor_args_replace,
    task_executor_before_execute,
    task_executor_decode,
    task_executor_middlewares_execute,
    task_executor_run_task,
    task_executor_run_task_gen,
    task_executor_run_task_trigger_error,
    task_executor_task_close,
)
from qtasks_core.hookspecs.worker import (
    worker_add,
    worker_execute_after,
    worker_execute_before,
    worker_outcome,
    worker_process_start,
    worker_process_stop,
    worker_remove_finished_task,
    worker_run_task_before,
    worker_start,
    worker_stop,
    worker_task_error_retry,
)

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
    "global_config_get",
    "global_config_get_all",
    "global_config_get_match",
    "global_config_set",
    "global_config_set_status",
    "global_config_start",
    "global_config_stop",
    "qtasks_add_task_after_broker",
    "qtasks_add_task_before_broker",
    "qtasks_configure",
    "qtasks_flush_all",
    "qtasks_get",
    "qtasks_ping",
    "qtasks_register_injector",
    "qtasks_register_task",
    "qtasks_stop",
    "starter_start",
    "starter_stop",
    "stats_inspect",
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
