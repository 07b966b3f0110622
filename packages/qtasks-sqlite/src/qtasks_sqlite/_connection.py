"""Opening a connection with the settings that the promises rest on."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError, UnavailableError
from qtasks_sqlite import _forks
from qtasks_sqlite._faults import is_busy, opening_fault
from qtasks_sqlite._schema import check, migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LOOK_AGAIN_S", "Connection", "prepare_reader", "prepare_writer"]

LOOK_AGAIN_S = 0.0005  # SQLite's own busy handler sleeps up to 100 ms at a time: a second process would starve
OLDEST = (3, 35, 0)
STATEMENTS = 512  # kept prepared: each kind comes in a few sizes
WAL_BYTES = 64 * 1024 * 1024  # a log that grew larger is cut back


class Connection:
    """A connection for one thread: closed while this process forks, and opened again by its next use.

    Parameters:
        path: The file.
        wait_s: How long another process may hold it, in seconds.
        prepare: Does what comes first; see prepare_writer() and prepare_reader().
        opened: Told each time that it was opened.
    """

    def __init__(
        self,
        path: Path,
        wait_s: float,
        prepare: Callable[[sqlite3.Connection, Path], None],
        opened: Callable[[], None],
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old; expected 3.35 or newer")
        self._path = path
        self._wait_s = wait_s
        self._prepare = prepare
        self._opened = opened
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        _forks.let_go_in_forks(self)
        self.enter()
        self.leave()

    @property
    def replaced(self) -> bool:
        """Whether the file was deleted or replaced: what is written into it would be lost to everybody else."""
        return _file_number(self._path) != self._file

    def enter(self) -> sqlite3.Connection:
        """Return the connection for use, until leave().

        Raises:
            ConfigError: It can never be opened; names the file.
            UnavailableError: Another process holds the file, or it was replaced.
        """
        _forks.enter()
        return self._connection or self._open()

    def leave(self) -> None:
        """End the use of the connection, with no transaction open."""
        _forks.leave()

    def close(self) -> None:
        """Close it for good."""
        _forks.enter()
        self.let_go()
        _forks.leave()

    def let_go(self) -> None:
        """Close it, from any thread, while nobody uses it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        """Open it while this thread is inside; a fork may come in between."""
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                return self._try_to_open()
            except sqlite3.Error as error:
                _forks.leave()
                # The first opening and the last closing of a file take locks that no busy handler waits for.
                if not is_busy(error) or time.monotonic() > deadline:
                    raise opening_fault(error, self._path) from error
            except BaseException:
                _forks.leave()
                raise
            time.sleep(LOOK_AGAIN_S)
            _forks.enter()

    def _try_to_open(self) -> sqlite3.Connection:
        if self._file is not None and self.replaced:  # SQLite would make a new one
            raise UnavailableError(f"{str(self._path)!r} was deleted or replaced while it was open: start again")
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
        )
        try:
            self._prepare(connection, self._path)
            self._file = self._file or _file_number(self._path)
            self._opened()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _file_number(path: Path) -> tuple[int, int] | None:
    """Return what tells the file from another one under the same name; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def prepare_writer(connection: sqlite3.Connection, path: Path) -> None:
    """Make the database if there is none, and set the connection up to write."""
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


def prepare_reader(connection: sqlite3.Connection, _path: Path) -> None:
    """Set the connection up to read."""
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("SELECT count(*) FROM namespaces").fetchone()
