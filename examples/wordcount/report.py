"""What came of it: the numbers, what is wrong with them, and a table for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

MOST_FREQUENT = 20


class Total(NamedTuple):
    """All words, and the seconds that counting them took."""

    words: Counter[str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """How one run of the demo went.

    Parameters:
        files: How many tasks were added.
        queued: Counted by the workers.
        direct: Counted without the queue.
        runs: How often each file was worked on, from the ledger.
        lost: Tasks without a result, with the reason.
        left_at_kill: Files that nobody had begun when the worker was killed.
        in_flight: Most tasks that the killed worker can have held.
        exit_codes: Of the workers that were stopped with SIGTERM.
        logs: What the workers wrote.
    """

    files: int
    queued: Total
    direct: Total
    runs: Counter[str]
    lost: Sequence[str]
    left_at_kill: int
    in_flight: int
    exit_codes: Sequence[int]
    logs: str = ""

    @property
    def repeated(self) -> int:
        """Runs beyond the first of each task."""
        return self.runs.total() - len(self.runs)

    def problems(self) -> list[str]:
        """Return what is not as promised; nothing, when all is well."""
        found = [f"lost: {task}" for task in self.lost]
        if len(self.runs) != self.files:
            found.append(f"{self.files - len(self.runs)} tasks never ran")
        if self.repeated > self.in_flight:
            found.append(f"{self.repeated} runs too many, but only {self.in_flight} tasks were in flight at the kill")
        if not self.left_at_kill:
            found.append("the worker was killed when no work was left, so this proves nothing; take more files")
        if any(self.exit_codes):
            found.append(f"workers ended with {list(self.exit_codes)} after SIGTERM, expected 0")
        different = {word for word in self.queued.words | self.direct.words if self._differs(word)}
        if different:
            found.append(f"the totals of {len(different)} words differ, among them {', '.join(sorted(different)[:5])}")
        return found

    def _differs(self, word: str) -> bool:
        return self.queued.words[word] != self.direct.words[word]


def show(report: Report, console: Console) -> int:
    """Print the report; return the exit code: 0, or 1 when something is not as promised."""
    console.print(_words(report))
    console.print(_facts(report))
    problems = report.problems()
    for problem in problems:
        console.print(f"FAILED: {problem}", style="bold red")
    if problems:
        console.print(report.logs)
    totals = "differ" if report.queued.words != report.direct.words else "are equal"
    console.print(
        f"lost {len(report.lost)}, ran twice {report.repeated} "
        f"(at most {report.in_flight} were in flight at the kill), totals {totals}",
        style="bold red" if problems else "bold green",
    )
    return 1 if problems else 0


def _words(report: Report) -> Table:
    table = Table("word", title=f"the {MOST_FREQUENT} most frequent words")
    table.add_column("by the queue", justify="right")
    table.add_column("directly", justify="right")
    for word, count in report.queued.words.most_common(MOST_FREQUENT):
        table.add_row(word, f"{count:,}", f"{report.direct.words[word]:,}")
    return table


def _facts(report: Report) -> Table:
    table = Table("", title="the run")
    table.add_column("by the queue", justify="right")
    table.add_column("directly", justify="right")
    totals = (report.queued, report.direct)
    table.add_row("files", f"{report.files - len(report.lost):,}", f"{report.files:,}")
    table.add_row("words", *(f"{total.words.total():,}" for total in totals))
    table.add_row("different words", *(f"{len(total.words):,}" for total in totals))
    table.add_row("seconds", *(f"{total.seconds:.1f}" for total in totals))
    table.add_row("files a second", *(f"{report.files / total.seconds:,.0f}" for total in totals))
    table.add_row("left when a worker was killed", f"{report.left_at_kill:,}", "")
    table.add_row("tasks run twice", str(report.repeated), "")
    table.add_row("tasks lost", str(len(report.lost)), "")
    return table
