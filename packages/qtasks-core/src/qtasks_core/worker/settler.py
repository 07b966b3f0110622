"""How outcomes are written: in batches, and with a way out for one that cannot be."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from qtasks_core.contract import Dead, Outcome
from qtasks_core.errors import AlreadyFinal, FencedError, SendUnknownError
from qtasks_core.group_commit import BufferLimits, GroupCommit
from qtasks_core.wire import RemoteError, pack_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import PerItem
    from qtasks_core.worker.run import Run

__all__ = ["Settler"]

logger = logging.getLogger("qtasks.worker")

_OVERHEAD = 128


class Settler:
    """Writes the outcomes of one worker.

    Parameters:
        write: Applies a batch of outcomes.
        limits: Bounds of a write.
        settled: Told of each run whose slot is free again.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Outcome]], Awaitable[PerItem]],
        limits: BufferLimits,
        settled: Callable[[Run], None],
    ) -> None:
        self._commit: GroupCommit[Outcome] = GroupCommit(write, limits, "outcomes")
        self._settled = settled
        self._is_closed = False
        self.written: Callable[[Run, Outcome], None] | None = None
        """Told of each outcome that is written, in place of *settled*: it frees the slot when it is done."""
        self.unwritten = 0
        """Outcomes that were given up when the worker stopped."""

    def put(self, run: Run, outcome: Outcome) -> None:
        """Write what became of a run; it is repeated until the server has answered.

        A run has one outcome: what comes after it (a task that ends although it was given back) is dropped.
        """
        if run.is_ending:
            return
        run.is_ending = True
        record = outcome.record
        size = _OVERHEAD if record is None else _OVERHEAD + len(record.body) + len(record.result or b"")
        self._commit.put(outcome, size, partial(self._answered, run, outcome))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything is written, at most *timeout_s* seconds; return whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._commit.drain()
        except TimeoutError:
            logger.exception("%d outcomes are not written after %g s: the server is away", len(self._commit), timeout_s)
            return False
        return True

    async def close(self) -> None:
        """Give up what is not written."""
        self._is_closed = True
        await self._commit.close()

    def _answered(self, run: Run, outcome: Outcome, error: Exception | None) -> None:
        if error is None and self.written is not None:
            self.written(run, outcome)
            return
        if error is not None and not isinstance(error, AlreadyFinal):
            if isinstance(error, FencedError):
                logger.warning("task %s %s was taken over by another worker", run.task_name, _uuid(run))
            elif self._is_closed or isinstance(error, SendUnknownError):
                self.unwritten += 1
            elif (other := _fallback(outcome, error)) is not None:
                logger.error("the outcome of task %s %s was refused: %s", run.task_name, _uuid(run), error)
                run.is_ending = False
                self.put(run, other)
                return
            else:
                self.unwritten += 1
                logger.critical("task %s %s can neither be settled nor buried: %s", run.task_name, _uuid(run), error)
        self._settled(run)


def _uuid(run: Run) -> object:
    return None if run.delivery.envelope is None else run.delivery.envelope.uuid


def _fallback(outcome: Outcome, error: Exception) -> Outcome | None:
    """Return an error without its result for an outcome that is refused, then a dead letter without a record."""
    record = outcome.record
    reason = f"its outcome was refused: {error}"[:500]
    if record is not None and record.result is not None:
        words = pack_error(RemoteError(type(error).__name__, str(error), ""))
        smaller = msgspec.structs.replace(record, status="error", result=None, error=words)
        return msgspec.structs.replace(outcome, record=smaller)
    if record is None and isinstance(outcome.verdict, Dead):
        return None
    return Outcome(outcome.delivery, Dead(reason))
