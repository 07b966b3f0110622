"""Log records of a task: which task, and which run of it, they belong to."""

from __future__ import annotations

import logging
from typing import Any

from qtasks_core.task_context import running_task

__all__ = ["TaskLogFilter"]


class TaskLogFilter(logging.Filter):
    """Gives each record the fields of the task that it was logged in, and lets all records pass.

    Put it on a handler, not on a logger: `handler.addFilter(TaskLogFilter())`. The fields are *task_name*, *task_uuid*,
    *attempt*, and *task_label*, which is "[NAME UUID #ATTEMPT] " for the beginning of a line; outside of a task they
    are empty and 0.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set what is not there yet."""
        fields = vars(record)
        if "task_name" not in fields:
            run = running_task()
            name, uuid, attempt = ("", "", 0) if run is None else (run.task_name, str(run.uuid), run.attempt)
            fields.update(task_name=name, task_uuid=uuid, attempt=attempt)
        if "task_label" not in fields:
            fields["task_label"] = _label(fields)
        return True


def _label(fields: dict[str, Any]) -> str:
    name = fields["task_name"]
    return f"[{name} {fields.get('task_uuid', '')} #{fields.get('attempt', '')}] " if name else ""
