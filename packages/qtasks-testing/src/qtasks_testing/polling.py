"""Waiting in tests: look until it is so, with a deadline, instead of a sleep that hides a race."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["eventually", "eventually_sync"]


async def eventually(
    condition: Callable[[], Any], timeout_s: float = 10.0, what: str = "", interval_s: float = 0.01
) -> Any:
    """Return the first true value of *condition*, looked at again and again.

    Parameters:
        condition: A function or a coroutine function without arguments.
        timeout_s: Seconds after which it is too late.
        what: What is waited for, for the error.
        interval_s: Seconds between two looks.

    Raises:
        AssertionError: The condition did not come true in time; the message has its last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        _check(deadline, value, timeout_s, what or _name(condition))
        await asyncio.sleep(interval_s)


def eventually_sync(
    condition: Callable[[], Any], timeout_s: float = 10.0, what: str = "", interval_s: float = 0.01
) -> Any:
    """Return the first true value of *condition*; the blocking form of `eventually()`.

    Parameters:
        condition: A function without arguments.
        timeout_s: Seconds after which it is too late.
        what: What is waited for, for the error.
        interval_s: Seconds between two looks.

    Raises:
        AssertionError: The condition did not come true in time; the message has its last value.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        _check(deadline, value, timeout_s, what or _name(condition))
        time.sleep(interval_s)
    return value


def _check(deadline: float, value: object, timeout_s: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise AssertionError(f"not within {timeout_s} s: {what}; last value {value!r}")


def _name(condition: Callable[[], Any]) -> str:
    return getattr(condition, "__qualname__", repr(condition))
