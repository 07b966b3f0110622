"""The time of an app under test: it goes on as ever, and ahead at a wish."""

from __future__ import annotations

import time

__all__ = ["MovedClock"]


class MovedClock:
    """Tells the time, as far ahead as it was moved."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """Return the time (UTC epoch seconds)."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move it ahead.

        Parameters:
            seconds: How far, 0 or more.

        Raises:
            ValueError: It would go back.
        """
        if seconds < 0:
            raise ValueError(f"seconds: expected 0 or more, got {seconds}; time does not go back")
        self._ahead_s += seconds
