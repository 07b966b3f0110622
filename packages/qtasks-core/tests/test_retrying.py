"""Whether a task that failed is tried again, and when."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.config import QueueConfig
from qtasks_core.errors import Retry
from qtasks_core.task_options import checked_options
from qtasks_core.worker.retrying import RetryPolicy

ERROR = ValueError("no")


def policy(config: QueueConfig | None = None, **options: Any) -> RetryPolicy:
    """Make the policy of a task with those options, without jitter unless it is asked for."""
    chosen = checked_options("task 't'", {"retry": 10**9, "retry_jitter": False, **options})
    return RetryPolicy("t", chosen, config or QueueConfig())


@pytest.mark.parametrize(
    ("of_task", "asked", "attempt", "is_tried"),
    [
        (0, None, 1, False),
        (1, None, 1, True),
        (1, None, 2, False),
        (0, 2, 2, True),
        (0, 2, 3, False),
        (5, 0, 1, False),
    ],
)
def test_there_are_so_many_further_attempts(of_task: int, asked: int | None, attempt: int, *, is_tried: bool) -> None:
    """One and *retry* further ones; the call's number goes before the task's."""
    assert is_tried is (policy(retry=of_task).delay(ERROR, attempt, asked) is not None)


def test_the_exponential_backoff_doubles_from_a_second() -> None:
    """Up to the longest delay, be the attempt as high as it likes."""
    one = policy(retry_max_delay=100)

    assert [1, 2, 4, 8, 64, 100, 100] == [one.delay(ERROR, attempt, None) for attempt in (1, 2, 3, 4, 7, 8, 10**6)]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (0, [0, 0]),
        (2.5, [2.5, 2.5]),
        (7, [5, 5]),
        (lambda attempt: attempt / 4, [0.25, 0.5]),
        (lambda _: -3, [0, 0]),
        (lambda _: math.inf, [5, 5]),
        (lambda _: math.nan, [0, 0]),
        (lambda _: "1.5", [1.5, 1.5]),
    ],
)
def test_a_number_or_a_function_says_how_long(backoff: Any, expected: list[float]) -> None:
    """Never less than nothing, never more than the longest delay (here 5 s)."""
    one = policy(retry_backoff=backoff, retry_max_delay=5)

    assert expected == [one.delay(ERROR, attempt, None) for attempt in (1, 2)]


def _fails(attempt: int) -> float:
    raise LookupError(attempt)


@pytest.mark.parametrize("broken", [_fails, lambda _: None, lambda _: "soon"])
def test_a_function_that_fails_is_replaced_by_the_exponential_backoff(
    broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in it costs no attempt; the log names the task."""
    with caplog.at_level(logging.ERROR):
        assert 4 == policy(retry_backoff=broken).delay(ERROR, 3, None)

    assert "task t: its retry_backoff failed" in caplog.text


@given(st.integers(1, 10**6), st.floats(0.001, 10**6))
def test_jitter_takes_a_random_part(attempt: int, longest: float) -> None:
    """Between nothing and all of what it would be without."""
    most = policy(retry_max_delay=longest).delay(ERROR, attempt, None)
    found = policy(retry_jitter=True, retry_max_delay=longest).delay(ERROR, attempt, None)

    assert most is not None
    assert found is not None
    assert 0 <= found <= most <= longest


def test_jitter_spreads_what_failed_together() -> None:
    """It is the default; hardly two waits are the same."""
    one = RetryPolicy("t", checked_options("task 't'", {"retry": 1, "retry_backoff": 100}), QueueConfig())

    assert len({one.delay(ERROR, 1, None) for _ in range(100)}) > 90


@pytest.mark.parametrize(
    ("kinds", "error", "is_tried"),
    [
        (None, ValueError(), True),
        (None, TimeoutError(), True),
        (None, KeyboardInterrupt(), False),
        (None, SystemExit(), False),
        ((OSError,), ConnectionResetError(), True),
        ((OSError,), ValueError(), False),
        ((OSError, ValueError), ValueError(), True),
        (ValueError, ValueError(), True),
        ((SystemExit,), SystemExit(), True),
        ((), ValueError(), False),
    ],
)
def test_only_what_is_named_is_tried_again(kinds: Any, error: BaseException, *, is_tried: bool) -> None:
    """Every Exception by default, and what ends a process only when it is named."""
    assert is_tried is (policy(retry_on_exc=kinds).delay(error, 1, None) is not None)


@pytest.mark.parametrize(
    ("asked", "expected"), [(Retry(3.0), 3.0), (Retry(0), 0.0), (Retry(-1), 0.0), (Retry(9999), 9999), (Retry(), 1.0)]
)
def test_who_asks_for_another_attempt_says_when(asked: Retry, expected: float) -> None:
    """Retry is tried again whatever is named, after its own delay, else after the backoff."""
    assert expected == policy(retry_on_exc=(KeyError,), retry_max_delay=10).delay(asked, 1, None)


def test_who_asks_once_too_often_is_refused() -> None:
    """Retry counts as an attempt."""
    assert policy(retry=1).delay(Retry(1), 2, None) is None


def test_what_the_task_leaves_out_is_the_apps() -> None:
    """Backoff and longest delay; an own 0 is no omission."""
    config = QueueConfig(retry_backoff=3, retry_max_delay=2)

    assert 2 == policy(config).delay(ERROR, 1, None)
    assert 3 == policy(config, retry_max_delay=10).delay(ERROR, 1, None)
    assert 0 == policy(config, retry_backoff=0).delay(ERROR, 1, None)
