"""The parent's death: how a process notices that the one which started it is gone."""

from __future__ import annotations

import asyncio
import os

__all__ = ["ParentWatch"]


class ParentWatch:
    """Watch the process that started this one.

    A parent killed with SIGKILL tells nobody; what remains is that the kernel hands its children to another process, so
    `os.getppid()` changes. That is asked for and not signalled: the one way that Linux and macOS share, and free of the
    race between fork and `prctl` (docs/decisions/001-parent-death.md).

    Parameters:
        expected: Process id of the parent; None takes the parent of this moment.
    """

    interval_s = 0.5
    """Seconds between two looks."""

    def __init__(self, expected: int | None = None) -> None:
        self.expected = os.getppid() if expected is None else expected

    def gone(self) -> bool:
        """Return whether the parent is dead; never true on Windows, where a dead parent's id stays."""
        return os.getppid() != self.expected

    async def wait(self) -> None:
        """Return when the parent is dead."""
        while not self.gone():  # noqa: ASYNC110  # nothing portable tells of it, so there is no event to wait for
            await asyncio.sleep(self.interval_s)
