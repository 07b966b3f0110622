"""The storage: a folder for each task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability
from qtasks_core.errors import UnavailableError
from qtasks_dir._files import Pauses, off_loop, reachable
from qtasks_dir._records import Records, unknown
from qtasks_dir._space import Space
from qtasks_dir._streams import Reader, append, stream_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import ComponentContext, Event, PerItem, Status, TaskRecord
    from qtasks_dir._streams import Place

__all__ = ["DirStorage"]


class DirStorage:
    """Keep records in a directory, for all processes of one machine.

    Parameters:
        url: As that of `DirBroker`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or the directory's parent is not there.
    """

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability(0)
    address: str | None = None  # whoever waits looks into the directory

    def __init__(self, url: str, context: ComponentContext) -> None:
        self._records = Records(Space.shared(url, context), context.config.result_ttl)

    async def start(self) -> None:
        """Make the folders that are missing."""
        await off_loop(self._records.section.open)

    async def stop(self) -> None:
        """Do nothing: nothing is open."""

    async def clear(self) -> None:
        """Delete all records."""
        await off_loop(self._records.section.clear)

    # ---------------------------------------------------------------- writing

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Insert records where there is none."""
        return await off_loop(lambda: [_answer(self._records.add, record) for record in batch])

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        """Write that runs have begun; return the records of those tasks that are final."""
        return await off_loop(lambda: [self._records.mark(record) for record in batch])

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Write final and retry records."""

        def finish() -> PerItem:
            answers = [_answer(self._records.finish, record) for record in batch]
            self._records.sweep()
            return answers

        return await off_loop(finish)

    async def append(self, batch: Sequence[Event]) -> PerItem:
        """Add to the streams of tasks."""
        by_uuid: dict[UUID, list[Event]] = {}
        for event in batch:
            by_uuid.setdefault(event.uuid, []).append(event)
        answers = await off_loop(lambda: {uuid: append(self._records, uuid, by_uuid[uuid]) for uuid in by_uuid})
        return [answers[event.uuid] for event in batch]

    async def delete(self, uuids: Sequence[UUID]) -> int:
        """Delete records."""
        return await off_loop(lambda: sum(self._records.delete(uuid) for uuid in uuids))

    def on_sweep(self, tell: Callable[[], None] | None) -> None:
        """Set what is called, in a thread, when expired records are about to be removed."""
        self._records.tell = tell

    # ---------------------------------------------------------------- reading

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        """Return the records as they stand."""
        return await off_loop(lambda: [self._records.get(uuid) for uuid in uuids])

    async def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        """Yield the records that were there at the start, each as it stands when it is read."""
        for uuid in await off_loop(lambda: list(self._records.uuids())):
            with reachable():
                record = self._records.get(uuid)
            if record is not None and status in {None, record.status} and task_name in {None, record.task_name}:
                yield record

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record as soon as it is seen.

        Raises:
            TimeoutError: *timeout_s* is over.
            ResultExpiredError: Nothing is known of *uuid*, or nothing was kept.
        """
        pauses = Pauses()
        async with asyncio.timeout(timeout_s):
            while True:
                with reachable():
                    life = self._records.life(uuid)
                    record = self._records.get(uuid) if life.is_final else None
                if record is not None:
                    return record
                if life.number < 0:
                    raise unknown(uuid)
                await pauses.wait()

    async def events(self, uuid: UUID, after: Place | None = None) -> AsyncIterator[Event]:
        """Yield what the newest run of a task yields; end when its final record is there.

        Raises:
            ResultExpiredError: Nothing is known of *uuid*.
        """
        reader, pauses = Reader(after), Pauses()
        if not self._records.folder(uuid).exists():
            raise unknown(uuid)
        while True:
            with reachable():
                is_over = self._records.life(uuid).is_final or not self._records.folder(uuid).exists()
                news = reader.read(stream_path(self._records, uuid))  # after the look: the end comes after all values
            for event in news:
                yield event
            if is_over and not news:
                return
            if news:
                pauses = Pauses()
            else:
                await pauses.wait()


def _answer(write: Callable[[TaskRecord], Exception | None], record: TaskRecord) -> Exception | None:
    try:
        return write(record)
    except OSError as error:
        return UnavailableError(str(error))
