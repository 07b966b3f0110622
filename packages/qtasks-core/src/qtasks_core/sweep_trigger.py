"""Tells plugins that expired records are about to be removed, which a storage notices on whatever thread it works."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtasks_core.contract import Results
    from qtasks_core.triggers import Triggers

__all__ = ["SweepTrigger"]


class SweepTrigger:
    """Calls `storage_delete_finished_tasks` on the running loop.

    Parameters:
        triggers: The app's triggers.
        storage: What plugins are told is swept.
    """

    def __init__(self, triggers: Triggers, storage: Results) -> None:
        self._triggers = triggers
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._telling: set[asyncio.Task[None]] = set()

    def about_to_begin(self) -> None:
        """Tell that a sweep begins; may be called from any thread, and waits for nothing."""
        if self._triggers.of("storage_delete_finished_tasks"):
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                self._loop.call_soon_threadsafe(self._tell)

    async def close(self) -> None:
        """Wait for nobody who was told and has not answered."""
        telling = list(self._telling)
        for task in telling:
            task.cancel()
        if telling:
            await asyncio.wait(telling)

    def _tell(self) -> None:
        chain = self._triggers.of("storage_delete_finished_tasks")
        task = self._loop.create_task(self._triggers.notify(chain, storage=self._storage))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
