"""The story: add a task for each file, kill a worker when a third is done, and wait for every result."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from qtasks.exceptions import ResultError
from wordcount.counting import count_files
from wordcount.ledger import Ledger
from wordcount.report import Report, Total
from wordcount.tasks import app, count_words
from wordcount.workers import Crew

WORKERS = 2
CONCURRENCY = 4
PATIENCE_S = 60.0


def run(files: Sequence[Path], folder: Path, console: Console) -> Report:
    """Count the words of *files* with a queue and without one, and report how it went.

    Parameters:
        files: What to count, one task for each.
        folder: Where ledger and logs go.
        console: Where progress is shown.
    """
    ledger = Ledger(folder / "ledger")
    left_at_kill = 0

    def kill_one() -> None:
        nonlocal left_at_kill
        crew.kill_one()
        left_at_kill = len(files) - len(ledger.runs())
        console.print(f"killed a worker with SIGKILL, {left_at_kill:,} files to go; started another")

    with Crew(WORKERS, CONCURRENCY, folder) as crew, app:
        began = time.monotonic()
        queued, lost = _count_by_queue(files, ledger, console, at_a_third=kill_one)
        seconds = time.monotonic() - began
        exit_codes = crew.stop()
    return Report(
        files=len(files),
        queued=Total(queued, seconds),
        direct=_count_directly(files),
        runs=ledger.runs(),
        lost=lost,
        left_at_kill=left_at_kill,
        in_flight=CONCURRENCY,
        exit_codes=exit_codes,
        logs=crew.logs(),
    )


def _count_by_queue(
    files: Sequence[Path], ledger: Ledger, console: Console, *, at_a_third: Callable[[], None]
) -> tuple[Counter[str], list[str]]:
    """Return the words, and the tasks that gave no result, with the reason."""
    deadline = time.monotonic() + PATIENCE_S
    total: Counter[str] = Counter()
    lost: list[str] = []
    tasks = count_words.add_many((str(path), str(ledger.path)) for path in files)
    for number, (path, task) in enumerate(track(list(zip(files, tasks, strict=True)), "counting", console=console)):
        if number == len(tasks) // 3:
            at_a_third()
        try:
            total.update(task.result(timeout=max(0.0, deadline - time.monotonic())))
        except (ResultError, TimeoutError) as error:
            lost.append(f"{path}: {error!r}")
    return total, lost


def _count_directly(files: Sequence[Path]) -> Total:
    began = time.monotonic()
    words = count_files(files)
    return Total(words, time.monotonic() - began)
