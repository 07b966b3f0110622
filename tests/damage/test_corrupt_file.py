"""A database whose bytes were overwritten or cut off: told at once and by name; a worker on it lives."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from damage.bench import damage_file
from qtasks.exceptions import ConfigError, SendRefusedError
from qtasks_testing.polling import eventually
from qtasks_testing.processes import WorkerFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damage.bench import Bench
    from qtasks_testing.processes import WorkerProcess

PAGE = 4096
MARK = "a text that is found in the file again"
APP = """
from qtasks import QueueTasks
app = QueueTasks("damage", "sqlite:///damage.db")

@app.task
def innocent(number: int, text: str) -> int:
    return number
"""


def _overwrite_head(path: Path) -> None:
    damage_file(path, 0, b"\xff" * 100)


def _overwrite_tables(path: Path) -> None:
    damage_file(path, 2 * PAGE, b"\xff" * (path.stat().st_size - 2 * PAGE))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite_rows(path: Path) -> None:
    """Damage the pages that hold the messages, and none that a start needs."""
    pages = path.read_bytes()
    damaged = [place for place in range(0, len(pages), PAGE) if MARK.encode() in pages[place : place + PAGE]]
    for place in damaged:
        damage_file(path, place, b"\xff" * 1000)
    assert damaged


def _checkpoint(path: Path) -> None:
    """Bring everything from the log into the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert 0 == connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


async def _filled(bench: Bench) -> None:
    """Add a hundred tasks and close the file."""
    drafts = [bench.app.core.draft("marked", (number, MARK), {}) for number in range(100)]
    assert not [one for one in await bench.app.core.add_many(drafts) if isinstance(one, Exception)]
    await bench.app.stop()


@pytest.mark.parametrize("damage", [_overwrite_head, _overwrite_tables, _cut])
async def test_a_damaged_file_is_refused_by_name(
    sqlite_bench: Callable[..., Bench], database: Path, damage: Callable[[Path], None]
) -> None:
    """The caller is told at once, not after send_timeout."""
    await _filled(sqlite_bench())
    damage(database)
    bench = sqlite_bench(send_timeout=600.0)
    async with asyncio.timeout(20):
        with pytest.raises(ConfigError, match=f"'{database}' is damaged, or no database: .*; restore a backup"):
            await bench.app.add_task("innocent", 1)
    await bench.app.stop()


async def test_no_worker_starts_on_a_damaged_file(
    sqlite_bench: Callable[..., Bench], database: Path, worker_process: Callable[..., WorkerProcess]
) -> None:
    """It ends with exit code 2 and one line that names the file."""
    await _filled(sqlite_bench())
    _cut(database)
    (database.parent / "corrupt.py").write_text(APP)
    worker = worker_process("corrupt", start=False)
    with pytest.raises(WorkerFailedError, match="ended with 2 before it was ready"):
        worker.start()

    assert f"Error: '{database}' is damaged, or no database: database disk image is malformed" in worker.log
    assert "Traceback" not in worker.log


async def test_a_worker_lives_on_damaged_messages(
    sqlite_bench: Callable[..., Bench], database: Path, worker_process: Callable[..., WorkerProcess]
) -> None:
    """The start needs none of them: it says what is wrong again and again, with pauses, and stops when it is asked."""
    await _filled(sqlite_bench())
    _overwrite_rows(database)
    (database.parent / "corrupt.py").write_text(APP)
    worker = worker_process("corrupt")
    worker.wait_log(rf"(?s)(taking tasks failed: '{database}' is damaged.*){{3}}")

    assert 0 == worker.stop()
    assert "Traceback" not in worker.log


async def test_a_file_that_is_damaged_under_a_worker(
    sqlite_bench: Callable[..., Bench], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who adds is told at once; the worker lives, its slot is free again, and neither log nor processor are filled."""
    bench = sqlite_bench(send_timeout=600.0)
    begun, go = asyncio.Event(), asyncio.Event()

    @bench.app.task
    async def hold(text: str) -> str:
        begun.set()
        await go.wait()
        return text

    async with bench.worker(concurrency=1, unwritten=1) as worker:
        tasks = await hold.add_many([(MARK,)] * 100)
        waiting = asyncio.ensure_future(tasks[0].wait(timeout=600))
        await begun.wait()
        _checkpoint(database)
        await _drop_caches(bench)
        _overwrite_rows(database)
        _write_elsewhere(database)
        await eventually(lambda: "looking for changes failed" in caplog.text, 20, "a look that fails")
        go.set()
        await eventually(lambda: 3 <= caplog.text.count("taking tasks failed"), 20, "claims that fail")
        async with asyncio.timeout(20):
            with pytest.raises(SendRefusedError, match=f"'{database}' is damaged, or no database"):
                await hold.add_task(MARK)
        assert 0 == worker.running
        waiting.cancel()

    told = Counter(record.msg for record in caplog.records)
    assert 1 == told["task %s %s can neither be settled nor buried: %s"]
    assert 1 == told["%s: looking for changes failed: %s"]
    assert [] == [record for record in caplog.records if record.exc_info]


def _write_elsewhere(path: Path) -> None:
    """Have the reader look: another process has written to what is whole."""
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        connection.execute("UPDATE namespaces SET worker_seen = worker_seen + 1")


async def _drop_caches(bench: Bench) -> None:
    """Have both connections read the file again."""
    await bench.database.write(lambda transaction: transaction.connection.execute("PRAGMA shrink_memory").fetchall())
    await bench.database.read(lambda connection: connection.execute("PRAGMA shrink_memory").fetchall())
