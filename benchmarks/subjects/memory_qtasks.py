"""QTasks on memory://: what needs a backend that costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _lateness import lateness
from _subject import main

if TYPE_CHECKING:
    from pathlib import Path


def due(_: Path, tasks: int) -> dict[str, float]:
    return lateness("memory://", tasks)


if __name__ == "__main__":
    main({"due": due})
