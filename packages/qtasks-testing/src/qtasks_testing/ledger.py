"""An append-only file in which task functions record that they ran, in whichever process that is."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Ledger", "LedgerEntry"]

_LONGEST_LINE = 4096  # within a page, so that one write() is one append


class LedgerEntry(NamedTuple):
    """One line: what happened to which key, where and when (UTC epoch seconds)."""

    key: str
    event: str
    pid: int
    at: float


class Ledger:
    """A file of runs that survives `kill -9`: each entry is one write in append mode, never buffered.

    It can be made in each process and in each call anew; only the path counts.

    Parameters:
        path: The file; made with the first entry.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def record(self, key: object, event: str = "run") -> None:
        """Append one entry.

        Parameters:
            key: Which task; written as text, without tabs and line ends.
            event: What happened to it, such as "start" and "end".

        Raises:
            ValueError: The entry is longer than 4096 bytes, or holds a tab or a line end.
        """
        fields = (str(key), event, str(os.getpid()), repr(time.time()))
        line = ("\t".join(fields) + "\n").encode()
        if len(line) > _LONGEST_LINE or line.count(b"\t") != len(fields) - 1 or line.count(b"\n") != 1:
            raise ValueError(f"ledger: expected a short key and event on one line, got {key!r}, {event!r}")
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def entries(self, event: str | None = None) -> list[LedgerEntry]:
        """Return what was recorded so far, in order; *event* picks one kind."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        lines = text[: text.rfind("\n") + 1].splitlines()  # who reads during a write may see the half of it
        found = (LedgerEntry(key, what, int(pid), float(at)) for key, what, pid, at in map(_split, lines))
        return [entry for entry in found if event is None or entry.event == event]

    def counts(self, event: str = "run") -> Counter[str]:
        """Return how often each key had that event."""
        return Counter(entry.key for entry in self.entries(event))

    def duplicates(self, event: str = "run") -> dict[str, int]:
        """Return the keys that had the event more than once, and how often."""
        return {key: count for key, count in self.counts(event).items() if count > 1}

    def missing(self, keys: Iterable[object], event: str = "run") -> set[str]:
        """Return those of *keys* that never had the event."""
        return {str(key) for key in keys} - self.counts(event).keys()

    def unfinished(self, start: str = "start", end: str = "end") -> set[str]:
        """Return the keys with a *start* and no *end*."""
        return self.counts(start).keys() - self.counts(end).keys()


def _split(line: str) -> tuple[str, str, str, str]:
    key, event, pid, at = line.split("\t")
    return key, event, pid, at
