"""What the tests of process tasks share: their functions can be imported by a process, and none is left behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail a test after which a child of this process lives, or waits to be reaped."""
    before = children()
    yield
    eventually_sync(lambda: children() <= before, 5.0, "no process is left behind")


def children() -> set[int]:
    """Return the ids of this process's children; none where the system does not tell."""
    found = set()
    for thread in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended
            found |= {int(number) for number in thread.read_text().split()}
    return found
