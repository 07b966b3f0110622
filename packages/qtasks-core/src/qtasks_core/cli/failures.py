"""How a command fails: exit code 1, or 2 where a setting is wrong."""

from __future__ import annotations

import click

from qtasks_core.errors import ConfigError, QTasksError, TaskFailedError

__all__ = ["Misconfigured", "failure_of"]


class Misconfigured(click.ClickException):
    """A setting, a URL or `-A` is wrong; a supervisor does not start such a worker again."""

    exit_code = 2


def failure_of(error: QTasksError) -> click.ClickException:
    """Return what a command raises for *error*; a task's failure is told with its remote traceback."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, TaskFailedError) and error.traceback:
        text = f"{text}\n\nremote traceback:\n{error.traceback.rstrip()}"
    return Misconfigured(text) if isinstance(error, ConfigError) else click.ClickException(text)
