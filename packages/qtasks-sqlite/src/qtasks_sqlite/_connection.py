"""Opening a connection with the settings that the promises rest on."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError
from qtasks_sqlite._faults import is_busy, opening_fault
from qtasks_sqlite._schema import check, migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LOOK_AGAIN_S", "file_number", "open_reader", "open_writer"]

LOOK_AGAIN_S = 0.0005  # SQLite's own busy handler sleeps up to 100 ms at a time: a second process would starve
OLDEST = (3, 35, 0)
STATEMENTS = 512  # kept prepared: each kind comes in a few sizes
WAL_BYTES = 64 * 1024 * 1024  # a log that grew larger is cut back


def open_writer(path: Path, wait_s: float) -> sqlite3.Connection:
    """Open the connection that writes.

    Parameters:
        path: The file; made when it is not there.
        wait_s: How long another process may hold it, in seconds.

    Raises:
        ConfigError: It can never be opened; names the file.
        UnavailableError: Another process holds it.
    """
    return _opened(path, wait_s, _prepare_writer)


def open_reader(path: Path, wait_s: float) -> sqlite3.Connection:
    """Open a connection that only reads. Parameters and errors as in open_writer()."""
    return _opened(path, wait_s, _prepare_reader)


def file_number(path: Path) -> tuple[int, int] | None:
    """Return what tells the file from another one under the same name; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _opened(path: Path, wait_s: float, prepare: Callable[[sqlite3.Connection, Path], None]) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old; expected 3.35 or newer")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _open(path, prepare)
        except sqlite3.Error as error:
            # The first opening and the last closing of a file take locks that no busy handler waits for.
            if not is_busy(error) or time.monotonic() > deadline:
                raise opening_fault(error, path) from error
        time.sleep(LOOK_AGAIN_S)


def _open(path: Path, prepare: Callable[[sqlite3.Connection, Path], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )
    try:
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_writer(connection: sqlite3.Connection, path: Path) -> None:
    if check(connection, path) == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a table
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigError(f"SQLite gave journal mode {mode!r}; expected 'wal', which needs a local disk")
    # A commit is in the log, and seen by others; the writer itself brings the log to the disk before it answers.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    connection.execute("PRAGMA temp_store = MEMORY")
    migrate(connection, path)
    _try_to_write(connection)


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Raise what a first write would: SQLite opens a file that is read-only without a word."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("PRAGMA user_version = 0")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _prepare_reader(connection: sqlite3.Connection, _path: Path) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("SELECT count(*) FROM namespaces").fetchone()
