"""Writes status process for tasks that outlive a flush; quick ones are never marked."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from qtasks_core.errors import QTasksError, SendUnknownError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from collections.abc import Set as AbstractSet

    from qtasks_core.contract import Storage, TaskRecord
    from qtasks_core.worker.outcomes import OutcomeMaker
    from qtasks_core.worker.run import Run

__all__ = ["Marker"]

logger = logging.getLogger("qtasks.worker")

_AFTER_S = 0.5


class Marker:
    """Marks what still runs half a second after it started.

    Parameters:
        storage: Where records are kept.
        runs: What the worker holds.
        outcomes: Makes the records.
        clock: UTC epoch seconds.
    """

    def __init__(
        self, storage: Storage, runs: AbstractSet[Run], outcomes: OutcomeMaker, clock: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._runs = runs
        self._outcomes = outcomes
        self._clock = clock
        self.prepare: Callable[[TaskRecord], Awaitable[TaskRecord]] | None = None
        """Makes of each record what plugins want; None: no plugin does."""
        self._timer: asyncio.TimerHandle | None = None
        self._marking: asyncio.Task[None] | None = None
        self._alone: dict[Run, asyncio.Task[None]] = {}

    def note(self) -> None:
        """Remember that a run started."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self._due)

    def stop(self) -> None:
        """Mark no more."""
        for one in (self._timer, self._marking, *self._alone.values()):
            if one is not None:
                one.cancel()

    def _due(self) -> None:
        self._timer = None
        waiting = [run for run in self._runs if run.task is not None and not (run.is_marked or run.is_ending)]
        if not waiting:
            return
        limit = self._clock() - _AFTER_S / 2
        old = [run for run in waiting if run.started_at <= limit]
        if self.prepare is not None:
            self._mark_alone(old, self.prepare)
        elif old and (self._marking is None or self._marking.done()):
            self._marking = asyncio.get_running_loop().create_task(self._mark(old))
        self.note()

    def _mark_alone(self, runs: list[Run], prepare: Callable[[TaskRecord], Awaitable[TaskRecord]]) -> None:
        """Mark each by itself: a plugin that is slow holds up one mark only."""
        for run in runs:
            if run not in self._alone and run.delivery.envelope is not None:
                record = self._outcomes.process(run.delivery.envelope, run.task_name, run.started_at)
                marking = self._mark_prepared(run, prepare(record))
                self._alone[run] = task = asyncio.get_running_loop().create_task(marking)
                task.add_done_callback(partial(self._marked_alone, run))

    def _marked_alone(self, run: Run, _: asyncio.Task[None]) -> None:
        self._alone.pop(run, None)

    async def _mark_prepared(self, run: Run, record: Awaitable[TaskRecord]) -> None:
        prepared = await record
        if not run.is_ending:
            await self._write([run], [prepared])

    async def _mark(self, runs: list[Run]) -> None:
        records = [
            self._outcomes.process(run.delivery.envelope, run.task_name, run.started_at)
            for run in runs
            if run.delivery.envelope is not None
        ]
        await self._write(runs, records)

    async def _write(self, runs: list[Run], records: list[TaskRecord]) -> None:
        try:
            await self._storage.mark(records)
        except (UnavailableError, SendUnknownError) as error:
            logger.debug("running tasks could not be marked: %s", error)
            return
        except QTasksError as error:
            logger.warning("running tasks could not be marked: %s", error)
        except Exception:  # a mark is a courtesy: without it the tasks run all the same
            logger.exception("running tasks could not be marked")
        for run in runs:
            run.is_marked = True
