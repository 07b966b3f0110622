"""Logs of a worker process: the `qtasks` loggers, to stderr."""

from __future__ import annotations

import logging
import sys

from qtasks_core.cli.terminal import wants_colour
from qtasks_core.task_logs import TaskLogFilter

__all__ = ["set_up_logs"]

FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(task_label)s%(message)s"
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def set_up_logs(level: str, *, no_color: bool) -> None:
    """Write the `qtasks` loggers to stderr, unless the user's module has set up logging itself.

    Parameters:
        level: A level's name, such as "info".
        no_color: Write no colour, not even to a terminal.
    """
    logger = logging.getLogger("qtasks")
    logger.setLevel(level.upper())
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(TaskLogFilter())
    coloured = wants_colour(sys.stderr, no_color=no_color)
    handler.setFormatter(_ColourFormatter(FORMAT) if coloured else _TaskFormatter(FORMAT))
    logger.addHandler(handler)


class _TaskFormatter(logging.Formatter):
    """Say which task a line is from, but for the worker's own lines, which name it themselves."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # its name in the library
        if record.name == "qtasks.worker":
            record.task_label = ""
        return super().formatMessage(record)


class _ColourFormatter(_TaskFormatter):
    """Paint the level."""

    def format(self, record: logging.LogRecord) -> str:
        plain = record.levelname
        record.levelname = f"\033[{_COLOURS.get(plain, '0')}m{plain:<8}\033[0m"
        try:
            return super().format(record)
        finally:
            record.levelname = plain
