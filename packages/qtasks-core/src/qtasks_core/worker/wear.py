"""When a worker process has done enough: after so many tasks, or with so much memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Wear", "resident_mib"]

_EVERY_S = 1.0
_MIB = 1024 * 1024


class Wear:
    """Counts runs and looks at the memory of this process; tells once when it is time for a new one.

    Parameters:
        most_tasks: Runs after which it is time; None: any number.
        most_mib: Resident memory (MiB) above which it is time, once a task has run; None: any.
        worn: Told why.
        resident: Returns the resident memory in MiB.
    """

    def __init__(
        self,
        most_tasks: int | None,
        most_mib: int | None,
        worn: Callable[[str], None],
        resident: Callable[[], float] | None = None,
    ) -> None:
        self._most_tasks = most_tasks
        self._most_mib = most_mib
        self._worn = worn
        self._resident = resident or resident_mib
        self._ran = 0
        self._is_told = False

    def ran(self) -> None:
        """Count a run."""
        self._ran += 1
        if self._most_tasks is not None and self._ran >= self._most_tasks:
            self._tell(f"{self._ran} tasks have run here (max-tasks {self._most_tasks})")

    async def watch(self) -> None:
        """Look at the memory every second, until it is too much or this is cancelled."""
        while self._most_mib is not None and not self._is_told:
            used = self._resident()
            if self._ran and used > self._most_mib:  # else a limit that is too low would start process after process
                self._tell(f"{used:.0f} MiB are resident (max-rss {self._most_mib})")
            await asyncio.sleep(_EVERY_S)

    def _tell(self, why: str) -> None:
        if not self._is_told:
            self._is_told = True
            self._worn(why)


def resident_mib() -> float:
    """Return the resident memory of this process in MiB; where only its highest value is known (macOS), that."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # nothing but the read
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    import resource  # noqa: PLC0415  # Windows has none

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / _MIB if sys.platform == "darwin" else highest / 1024
