"""The storage of `memory://`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability
from qtasks_core.memory.component import MemoryComponent
from qtasks_core.memory.ledger import unknown
from qtasks_core.memory.signal import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Event, PerItem, Status, TaskRecord
    from qtasks_core.memory.stream import Run, Stream

__all__ = ["MemoryStorage"]

_SCAN_ITEMS = 256


class MemoryStorage(MemoryComponent):
    """Keeps records within one process. See `MemoryComponent` for the parameters."""

    capabilities: ClassVar[Capability] = Capability.UNIQUE
    address: str | None = None  # whoever waits, waits here

    async def clear(self) -> None:
        """Delete all records; of a task that waits or runs the message is the record, and stays."""
        with self.server.step:
            self.server.clear_records()

    def on_sweep(self, tell: Callable[[], None] | None) -> None:
        """Set who is told of a sweep."""
        with self.server.step:
            if tell is None:
                self.server.ledger.sweeping.pop(self, None)
            else:
                self.server.ledger.sweeping[self] = tell

    # ---------------------------------------------------------------- writing

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Insert records where there is none."""
        with self.server.step as now:
            return [self.server.ledger.add(record, now) for record in batch]

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        """Write that runs have begun; return the records of those tasks that are final."""
        with self.server.step as now:
            return [self.server.ledger.mark(record, now) for record in batch]

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Write final and retry records; messages stay as they are."""
        with self.server.step as now:
            return [self.server.ledger.finish(record, now) for record in batch]

    async def append(self, batch: Sequence[Event]) -> PerItem:
        """Add to the streams of tasks."""
        with self.server.step:
            return [self.server.ledger.append(event) for event in batch]

    async def delete(self, uuids: Sequence[UUID]) -> int:
        """Delete records; of a task that waits or runs the message is the record, and stays."""
        with self.server.step:
            found = [self.server.ledger.tasks.get(uuid) for uuid in dict.fromkeys(uuids)]
            chosen = [task for task in found if task is not None and task.record is not None and not task.live]
            for task in chosen:
                self.server.ledger.erase(task)
            return len(chosen)

    # ---------------------------------------------------------------- reading

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        """Return copies of the records as they stand."""
        with self.server.step:
            found = [self.server.ledger.tasks.get(uuid) for uuid in uuids]
            return [task.snapshot() if task is not None else None for task in found]

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        """Yield the records that were there at the start, each as it stands when it is read."""
        with self.server.step:
            uuids = list(self.server.ledger.tasks)
        for start in range(0, len(uuids), _SCAN_ITEMS):
            for record in await self.get(uuids[start : start + _SCAN_ITEMS]):
                if record is not None and status in {None, record.status} and task_name in {None, record.task_name}:
                    yield record

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record as soon as it is there.

        Raises:
            TimeoutError: *timeout_s* is over.
            ResultExpiredError: Nothing is known of *uuid*, or nothing was kept.
        """
        ledger = self.server.ledger
        with self.server.step:
            task = ledger.known(uuid)
            if task.final and (record := task.snapshot()) is not None:
                return record
            waiter = ledger.wait(task)
        try:
            async with asyncio.timeout(timeout_s):
                given = await waiter.wait()
        finally:
            with self.server.step:
                ledger.leave(task, waiter)
        if given is None:
            raise unknown(uuid)
        return given

    async def events(self, uuid: UUID, after: tuple[Run, int] | None = None) -> AsyncIterator[Event]:
        """Yield what the newest run of a task yields; end when its final record is there.

        Raises:
            ResultExpiredError: Nothing is known of *uuid*.
        """
        with self.server.step:
            stream = self.server.ledger.stream(uuid)
        while True:
            bell: Signal[None] = Signal()
            with self.server.step:
                found = stream.after(after)
                if not found and stream.ended:
                    return
                if not found:
                    stream.readers.append(bell)
            for event in found:
                yield event
                after = (event.run, event.seq)
            if not found:
                await self._rest(stream, bell)

    async def _rest(self, stream: Stream, bell: Signal[None]) -> None:
        try:
            await bell.wait()
        finally:
            with self.server.step:
                stream.leave(bell)
