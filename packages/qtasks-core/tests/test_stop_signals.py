"""What a signal means: a stop, its echo, or an end at once; and SIGTERM before there is a worker."""

from __future__ import annotations

import os
import signal
import time

import pytest

from qtasks_core.stop_signals import StopSignals, stopping_early

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([(TERM, 0.0)], ["stop"]),
        ([(TERM, 0.0), (TERM, 0.0)], ["stop", "echo"]),
        ([(TERM, 0.0), (TERM, 0.9), (TERM, 1.0)], ["stop", "echo", "now"]),
        ([(TERM, 0.0), (INT, 0.0)], ["stop", "now"]),
        ([(INT, 0.0), (TERM, 0.0)], ["stop", "now"]),
        ([(INT, 0.0), (INT, 0.05), (INT, 0.2)], ["stop", "echo", "now"]),
    ],
)
def test_the_same_signal_right_after_the_first_is_its_echo(
    arrivals: list[tuple[int, float]], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from the first, so that who goes on asking is heard; another signal is a second one at any time."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    asked, heard = StopSignals(), []
    for number, at in arrivals:
        now = 100.0 + at
        heard.append(asked.hear(number))

    assert expected == heard


def _load() -> None:
    """Be loaded as a user's module is: what it raises is told as its failure."""
    try:
        os.kill(os.getpid(), TERM)
    except (Exception, SystemExit) as error:
        raise AssertionError("it was taken for a failure") from error


def test_sigterm_before_there_is_a_worker_is_a_clean_end() -> None:
    """Whatever it comes upon, exit code 0; afterwards SIGTERM means what it meant before."""
    before = signal.getsignal(TERM)
    with pytest.raises(SystemExit) as ended, stopping_early():
        _load()

    assert 0 == ended.value.code
    assert before == signal.getsignal(TERM)
