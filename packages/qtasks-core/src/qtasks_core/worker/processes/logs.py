"""Log records of a pool process: sent by it, handled by the worker's own handlers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qtasks_core.task_logs import TaskLogFilter
from qtasks_core.worker.processes.messages import LogLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qtasks_core.worker.processes.link import Link

__all__ = ["LinkHandler", "handle", "levels", "set_levels"]

_LONGEST = 64 * 1024
_MOST_BITS = 63
_PLAIN = (str, int, float, bool, type(None))
_NOT_SENT = frozenset({"msg", "args", "exc_info", "message"})


class LinkHandler(logging.Handler):
    """Sends records to the worker.

    Parameters:
        link: To the worker.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.addFilter(TaskLogFilter())  # which task it is, is known here only
        self._link = link
        self._text = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record: its text, its traceback, and what else of it is plain data."""
        if not self._link.is_ours:
            self._emit_here(record)
            return
        try:
            text = record.getMessage()
            if record.exc_info and not record.exc_text:
                record.exc_text = self._text.formatException(record.exc_info)
        except Exception:  # noqa: BLE001  # as every handler: logging must not fail the task
            self.handleError(record)
            return
        found = {key: value for key, value in vars(record).items() if key not in _NOT_SENT}
        fields = {key: _sent(value) for key, value in found.items() if isinstance(value, _PLAIN)}
        self._link.send(LogLine({**fields, "msg": _sent(text)}))

    def take_over(self) -> None:
        """Be the only handler of this process: what the user's code set up for its worker is there in the worker."""
        for logger in _loggers():
            logger.handlers.clear()
            logger.propagate = True
        logging.getLogger().handlers[:] = [self]

    def _emit_here(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def handle(line: LogLine) -> None:
    """Hand a record of a pool process to the handlers of this one."""
    record = logging.makeLogRecord(dict(line.fields))
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def levels() -> dict[str, int]:
    """Return the levels that are set here, by logger; "" is the root's."""
    found = {logger.name: logger.level for logger in _loggers() if logger.level}
    return {**found, "": logging.getLogger().level}


def set_levels(by_logger: Mapping[str, int]) -> None:
    """Set levels, so that nothing is sent that the worker would not want."""
    for name, level in by_logger.items():
        logging.getLogger(name or None).setLevel(level)


def _sent(value: Any) -> str | int | float | bool | None:
    """Return what a message can hold of a value: no end of text, no lone surrogates, no more than 64 bits."""
    if isinstance(value, str):
        return value[:_LONGEST].encode("utf-8", "backslashreplace").decode()
    is_huge = isinstance(value, int) and value.bit_length() > _MOST_BITS
    return f"a number of {value.bit_length():,} bits" if is_huge else value


def _loggers() -> Iterator[logging.Logger]:
    known = list(logging.getLogger().manager.loggerDict.values())
    return (logger for logger in known if isinstance(logger, logging.Logger))
