"""Waiting with a deadline."""

from __future__ import annotations

import pytest

from qtasks_testing import eventually, eventually_sync


def test_the_first_true_value_is_returned() -> None:
    """It is looked at again until it holds."""
    values = iter([None, 0, "there"])

    assert eventually_sync(lambda: next(values)) == "there"


def test_too_late_is_an_assertion_with_the_last_value() -> None:
    """The error says what was waited for."""
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: three; last value 0"):
        eventually_sync(lambda: 0, 0.01, "three")


async def test_a_function_is_polled_on_the_loop() -> None:
    """Plain conditions work from coroutines too."""
    values = iter([False, True])

    assert await eventually(lambda: next(values)) is True


async def test_a_coroutine_function_is_awaited() -> None:
    """So do conditions that must be awaited."""
    values = iter([[], [1]])

    async def look() -> list[int]:
        return next(values)

    assert await eventually(look) == [1]


async def test_too_late_names_the_condition() -> None:
    """Without a text, the function's name says what was waited for."""

    def never() -> bool:
        return False

    with pytest.raises(AssertionError, match="never"):
        await eventually(never, 0.01)
