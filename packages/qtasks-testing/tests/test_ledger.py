"""The ledger: what tasks record is there afterwards, whoever wrote it and however they died."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qtasks_testing import Ledger

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import os, signal, sys
from qtasks_testing import Ledger
ledger = Ledger(sys.argv[1])
for number in range(200):
    ledger.record(f"{sys.argv[2]}-{number}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counts_duplicates_and_what_is_missing(ledger: Ledger) -> None:
    """Each entry counts; events are told apart."""
    for key in ("a", "b", "a"):
        ledger.record(key)
    ledger.record("c", "end")

    assert ledger.counts() == {"a": 2, "b": 1}
    assert ledger.duplicates() == {"a": 2}
    assert {"c"} == ledger.missing("abc")


def test_unfinished_runs_are_those_without_an_end(ledger: Ledger) -> None:
    """A start whose end never came is found."""
    ledger.record(1, "start")
    ledger.record(2, "start")
    ledger.record(2, "end")

    assert {"1"} == ledger.unfinished()


def test_an_entry_says_who_wrote_it(ledger: Ledger) -> None:
    """The process is part of it."""
    ledger.record("a")

    assert [("a", "run", os.getpid())] == [entry[:3] for entry in ledger.entries()]


def test_a_ledger_without_entries_is_empty(ledger: Ledger) -> None:
    """No file yet is no error."""
    assert ledger.entries() == []


@pytest.mark.parametrize("key", ["a\tb", "a\nb", "x" * 5000])
def test_what_would_break_a_line_is_refused(ledger: Ledger, key: str) -> None:
    """An entry is one short line, or nothing."""
    with pytest.raises(ValueError, match="expected a short key"):
        ledger.record(key)

    assert ledger.entries() == []


def test_entries_of_processes_that_were_killed_are_whole(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is buffered and nothing is torn, with four writers that die by SIGKILL."""
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    writers = [subprocess.Popen([sys.executable, script, ledger.path, str(n)]) for n in range(4)]
    for writer in writers:
        writer.wait()

    assert {f"{n}-{number}": 1 for n in range(4) for number in range(200)} == ledger.counts()


def test_an_entry_that_is_being_written_is_not_there_yet(ledger: Ledger) -> None:
    """Who reads meanwhile may see the half of it, without its line end; half a line before others is no such thing."""
    ledger.record("a")
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + whole[:5])

    assert ["a"] == [entry.key for entry in ledger.entries()]
    ledger.path.write_bytes(b"half\n" + whole)
    with pytest.raises(ValueError, match="not enough values"):
        ledger.entries()
