"""A database that may not grow: callers are told, workers wait, and when there is space again nothing is missing."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from qtasks.exceptions import SendRefusedError
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damage.bench import Bench
    from qtasks_sqlite._transaction import Transaction

FULL = "database or disk is full"
KILOBYTES = 1000
ROOMY = 1_000_000  # pages


async def _set_pages(bench: Bench, pages: int) -> int:
    """Set the most pages that the writer may use; return the limit that holds, never below what is used already."""

    def run(transaction: Transaction) -> int:
        return int(transaction.connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0])

    return await bench.database.write(run)


async def _fill(bench: Bench, spare: int = 0) -> None:
    """Let the file grow by no more than some pages."""
    used = await _set_pages(bench, 1)
    assert 1 < used < ROOMY
    assert used + spare == await _set_pages(bench, used + spare)


def _make_claims_large(path: Path) -> None:
    """Have each taking of a task use some pages, as rows of a larger kind would."""
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        connection.execute("CREATE TABLE ballast (data BLOB)")
        connection.execute("""
            CREATE TRIGGER grow AFTER UPDATE OF state ON tasks WHEN NEW.state = 2
            BEGIN INSERT INTO ballast VALUES (zeroblob(10000)); END""")


async def test_who_adds_to_a_full_disk_is_told(sqlite_bench: Callable[..., Bench], database: Path) -> None:
    """SendRefusedError with the file and the reason, after send_timeout; it is certainly not queued."""
    bench = sqlite_bench(send_timeout=0.2)
    kept = await bench.app.add_task("echo", b"x" * 50 * KILOBYTES)
    await _fill(bench)
    with pytest.raises(SendRefusedError, match=f"not queued: '{database}': {FULL}"):
        await bench.app.add_task("echo", b"x" * 500 * KILOBYTES)
    assert 1 == (await bench.depth()).ready
    await _set_pages(bench, ROOMY)
    again = await bench.app.add_task("echo", b"x" * 500 * KILOBYTES)

    assert 2 == (await bench.depth()).ready
    assert ["new", "new"] == [(await task.refresh()).status for task in (kept, again)]
    await bench.app.stop()


async def test_an_add_waits_for_space(sqlite_bench: Callable[..., Bench]) -> None:
    """Within send_timeout: who adds does not notice that the disk was full for a moment."""
    bench = sqlite_bench()
    await bench.app.add_task("echo", b"")
    await _fill(bench)
    adding = asyncio.ensure_future(bench.app.core.add(bench.app.core.draft("echo", (b"x" * 500 * KILOBYTES,), {})))
    await asyncio.sleep(0.1)
    assert not adding.done()
    await _set_pages(bench, ROOMY)

    assert "new" == (await adding).status
    await bench.app.stop()


async def test_what_fits_is_added_beside_what_does_not(sqlite_bench: Callable[..., Bench]) -> None:
    """One item that needs more space than there is does not fail its batch mates."""
    bench = sqlite_bench(send_timeout=0.2)
    await bench.app.add_task("echo", b"")
    await _fill(bench, spare=20)
    drafts = [bench.app.core.draft("echo", (b"x" * size,), {}) for size in (10, 500 * KILOBYTES, 10)]
    answers = await bench.app.core.add_many(drafts)

    assert [False, True, False] == [isinstance(answer, SendRefusedError) for answer in answers]
    assert 3 == (await bench.depth()).ready
    await bench.app.stop()


async def test_a_worker_that_cannot_take_tasks_waits_for_space(
    sqlite_bench: Callable[..., Bench], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A claim has to be written: it is tried again with pauses, and each task runs once when there is space."""
    bench = sqlite_bench()

    @bench.app.task
    async def note(number: int) -> int:
        bench.runs.append(number)
        return number

    tasks = await note.add_many([(number,) for number in range(100)])
    _make_claims_large(database)
    async with bench.worker(concurrency=8):
        await _fill(bench)
        await eventually(lambda: 3 <= caplog.text.count(f"{FULL}; trying again"), what="claims that fail")
        taken = len(bench.runs)
        assert taken < 100
        await _set_pages(bench, ROOMY)
        assert list(range(100)) == [await task.result(timeout=20) for task in tasks]
        await bench.is_settled()

    assert list(range(100)) == sorted(bench.runs)


async def test_a_result_that_cannot_be_written_is_kept_until_there_is_space(
    sqlite_bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """The task has run, and does not run again; the log says once what is waited for."""
    bench = sqlite_bench()
    begun, go = asyncio.Event(), asyncio.Event()

    @bench.app.task
    async def build() -> bytes:
        bench.runs.append("build")
        begun.set()
        await go.wait()
        return b"r" * 200 * KILOBYTES

    async with bench.worker(concurrency=1) as worker:
        task = await build.add_task()
        await begun.wait()
        await _fill(bench)
        go.set()
        await eventually(lambda: f"{FULL}; trying again" in caplog.text, what="a result that cannot be written")
        await asyncio.sleep(0.2)  # some more tries
        assert ("process", 1) == ((await task.refresh()).status, worker.running)
        await _set_pages(bench, ROOMY)
        assert 200 * KILOBYTES == len(await task.result(timeout=20))
        await bench.is_settled()

    assert ["build"] == bench.runs
    assert 1 == caplog.text.count("outcomes cannot be written")


async def test_small_results_are_written_beside_one_that_does_not_fit(sqlite_bench: Callable[..., Bench]) -> None:
    """Its mates in the same write end, and their waiters are told, while it is still kept."""
    bench = sqlite_bench()
    go = asyncio.Event()
    begun = 0

    @bench.app.task
    async def build(size: int) -> bytes:
        nonlocal begun
        begun += 1
        await go.wait()
        return b"r" * size

    async with bench.worker(concurrency=3):
        tasks = await build.add_many([(10,), (500 * KILOBYTES,), (10,)])
        await eventually(lambda: 3 == begun, what="all three running")
        await _fill(bench, spare=20)
        go.set()
        assert [10, 10] == [len(await tasks[place].result(timeout=20)) for place in (0, 2)]
        assert "process" == (await tasks[1].refresh()).status
        await _set_pages(bench, ROOMY)
        assert 500 * KILOBYTES == len(await tasks[1].result(timeout=20))
