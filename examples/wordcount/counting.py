"""The work itself, which knows nothing of a queue: which files there are, and what words one has."""

import re
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = {".py", ".rst", ".txt"}
MOST_FILES = 2_000

_INSTALLED = {"site-packages", "dist-packages"}  # inside the standard library's folder, but no part of it
_WORD = re.compile(r"[^\W\d_]{2,}")


def standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def find_files(folder: Path, limit: int = MOST_FILES) -> list[Path]:
    """Return the folder's text files in order of their paths, spread over all of it where there are too many."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES and path.is_file() and not _INSTALLED.intersection(path.parts)
    )
    return found if len(found) <= limit else [found[place * len(found) // limit] for place in range(limit)]


def count_file(path: str | Path) -> Counter[str]:
    """Count the words of one file: two letters or more, in lower case. What is no UTF-8 is read as U+FFFD."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return Counter(_WORD.findall(text.lower()))


def count_files(paths: Iterable[Path]) -> Counter[str]:
    """Count the words of many files, one after the other."""
    total: Counter[str] = Counter()
    for path in paths:
        total.update(count_file(path))
    return total
