"""A file of a newer version, or of another program: refused by name, and not touched."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from qtasks.exceptions import ConfigError
from qtasks_sqlite._schema import MIGRATIONS
from qtasks_testing.processes import WorkerFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damage.bench import Bench
    from qtasks_testing.processes import WorkerProcess

NEWER = len(MIGRATIONS) + 1
APP = 'from qtasks import QueueTasks\napp = QueueTasks("damage", "sqlite:///damage.db")\n'


def _execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def _newer(bench: Bench, path: Path) -> None:
    """Make a file with one task, as a newer version would leave it: with a table that nobody here knows."""
    await bench.app.add_task("innocent", 1)
    await bench.app.stop()
    _execute(path, "CREATE TABLE novelty (id INTEGER)", f"PRAGMA user_version = {NEWER}")


async def test_a_newer_file_is_refused_by_name(sqlite_bench: Callable[..., Bench], database: Path) -> None:
    """The error has both versions and the command that mends it; the file stays as it was."""
    await _newer(sqlite_bench(), database)
    before = database.read_bytes()
    bench = sqlite_bench()
    with pytest.raises(ConfigError) as caught:
        await bench.app.add_task("innocent", 2)
    await bench.app.stop()

    expected = (
        f"'{database}' has tables of version {NEWER}, this qtasks-sqlite knows {len(MIGRATIONS)}: "
        'pip install --upgrade "qtasks-sqlite"'
    )
    assert expected == str(caught.value)
    assert before == database.read_bytes()


async def test_no_worker_starts_on_a_newer_file(
    sqlite_bench: Callable[..., Bench], database: Path, worker_process: Callable[..., WorkerProcess]
) -> None:
    """It ends with exit code 2, the same words and no traceback."""
    await _newer(sqlite_bench(), database)
    (database.parent / "schema.py").write_text(APP)
    worker = worker_process("schema", start=False)
    with pytest.raises(WorkerFailedError, match="ended with 2 before it was ready"):
        worker.start()

    assert f"Error: '{database}' has tables of version {NEWER}" in worker.log
    assert "Traceback" not in worker.log


async def test_a_file_of_another_program_is_not_taken(sqlite_bench: Callable[..., Bench], database: Path) -> None:
    """Its tables are neither used nor joined by ours, and its settings stay: not a byte is changed."""
    _execute(database, "PRAGMA auto_vacuum = FULL", "CREATE TABLE customers (name TEXT)")
    before = database.read_bytes()
    bench = sqlite_bench()
    with pytest.raises(ConfigError, match=f"'{database}' is a database of another program; expected an empty one"):
        await bench.app.add_task("innocent", 1)
    await bench.app.stop()

    assert before == database.read_bytes()


async def test_what_is_no_database_is_not_taken(sqlite_bench: Callable[..., Bench], database: Path) -> None:
    """A typo in a URL does not cost a file."""
    database.write_text("Dear diary,\n" * 1000)
    bench = sqlite_bench()
    with pytest.raises(ConfigError, match=f"'{database}' is damaged, or no database: file is not a database"):
        await bench.app.add_task("innocent", 1)
    await bench.app.stop()

    assert "Dear diary,\n" * 1000 == database.read_text()
