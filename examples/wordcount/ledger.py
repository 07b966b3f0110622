"""What really ran: a file to which each run appends one line, from any process."""

import os
from collections import Counter
from pathlib import Path


class Ledger:
    """An append-only file of runs. A run that is killed has left its line behind, and its repetition adds another."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self, key: str) -> None:
        """Append one run in a single write, so that lines of several processes never mix."""
        line = f"{key}\t{os.getpid()}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def runs(self) -> Counter[str]:
        """Return how often each key has run so far."""
        if not self.path.exists():
            return Counter()
        return Counter(line.partition("\t")[0] for line in self.path.read_text(encoding="utf-8").splitlines())
