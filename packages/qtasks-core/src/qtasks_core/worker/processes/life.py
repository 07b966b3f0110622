"""The life of a pool process: one event loop for what plugins provide there, and triggers at both ends."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from qtasks_core.app import App

__all__ = ["ProcessLife", "new_runner"]


def new_runner() -> asyncio.Runner:
    """Return what runs coroutines on a loop of the kind that workers use."""
    from qtasks_core.starter import loop_factory  # noqa: PLC0415  # many run no coroutine

    return asyncio.Runner(loop_factory=loop_factory())


class ProcessLife:
    """What lives as long as this process does."""

    def __init__(self) -> None:
        self._apps: list[App] = []
        self._ends = contextlib.ExitStack()

    @cached_property
    def runner(self) -> asyncio.Runner:
        """Runs what plugins provide, and the tasks that it is provided for: a connection belongs to its loop."""
        return self._ends.enter_context(new_runner())

    def begin(self, apps: Iterable[App]) -> None:
        """Tell the plugins that the process is ready.

        Parameters:
            apps: Whose tasks it runs.

        Raises:
            Exception: What one raised: the process cannot work.
        """
        for app in apps:
            if chain := app.triggers.of("worker_process_start"):
                self._run(app.triggers.start(chain, qtasks=app.face))
            self._apps.append(app)

    def end(self) -> None:
        """Tell the plugins that the process is about to end, and close the loop."""
        with self._ends:
            for app in reversed(self._apps):
                if chain := app.triggers.of("worker_process_stop"):
                    self._run(app.triggers.notify(chain, qtasks=app.face))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)
