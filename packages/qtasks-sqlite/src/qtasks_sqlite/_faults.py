"""What SQLite's errors mean to a caller."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError, QTasksError, RefusedError, UnavailableError
from qtasks_core.item_errors import item_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_busy", "opening_fault", "translate"]

# Primary result codes: the low byte of the extended ones.
BUSY, LOCKED = 5, 6
IOERR, FULL = 10, 13
DAMAGED = frozenset({11, 26})  # CORRUPT, NOTADB
PERMANENT = frozenset({18, 19, 20, 25})  # TOOBIG, CONSTRAINT, MISMATCH, RANGE
HINTS = {FULL: "database or disk is full"}
EFFECTIVE = os.access in os.supports_effective_ids


def is_busy(error: Exception) -> bool:
    """Tell whether another connection is writing, so that trying again helps."""
    return _code(error) in {BUSY, LOCKED}


def translate(error: Exception, path: Path) -> QTasksError:
    """Return what a component answers for *error*."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, path)
    if isinstance(error, OSError):
        return _caused(UnavailableError(f"{str(path)!r}: {error}"), error)
    return item_error(error)


def opening_fault(error: Exception, path: Path) -> QTasksError:
    """Return what start() raises when the file cannot be opened."""
    if isinstance(error, RefusedError):
        return _caused(ConfigError(str(error)), error)
    if isinstance(error, QTasksError):
        return error
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir() raises where the folder must not be entered
        return _caused(ConfigError(f"{str(path)!r} is a folder; expected a file"), error)
    if _code(error) in {BUSY, LOCKED, IOERR, FULL}:  # not what was asked for is wrong
        return translate(error, path)
    if _code(error) in DAMAGED:
        return _caused(ConfigError(str(_damaged(error, path))), error)
    return _caused(ConfigError(f"{str(path)!r} cannot be opened: {error}{_why(path)}"), error)


def _why(path: Path) -> str:
    """Return what SQLite does not say. By asking, since to open and close the file would free the locks of others."""
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
        return "; its folder is not writable, and files are made beside it"
    is_writable = not path.exists() or os.access(path, os.W_OK, effective_ids=EFFECTIVE)
    return "" if is_writable else "; it is not writable"


def _of_sqlite(error: sqlite3.Error, path: Path) -> QTasksError:
    code = _code(error)
    if code in {BUSY, LOCKED}:
        return _caused(UnavailableError(f"{str(path)!r} is held by another process"), error)
    if code in DAMAGED:
        return _damaged(error, path)
    if code in PERMANENT or isinstance(error, (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError)):
        return _caused(RefusedError(f"cannot be stored: {error}"), error)
    return _caused(UnavailableError(f"{str(path)!r}: {HINTS.get(code, str(error))}"), error)


def _damaged(error: Exception, path: Path) -> QTasksError:
    """To try again would not help, and would hold up what can be done still."""
    text = f"{str(path)!r} is damaged, or no database: {error}; restore a backup, or what `sqlite3 FILE .recover` finds"
    return _caused(RefusedError(text), error)


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _caused(fault: QTasksError, error: Exception) -> QTasksError:
    fault.__cause__ = error
    return fault
