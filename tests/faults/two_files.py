"""A client of broker and storage on two files, without the tasks' code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faults.gaps import MESSAGES, NAME, RECORDS
from faults.scene import PATIENCE_S
from qtasks.asyncio import QueueTasks
from qtasks.exceptions import ResultExpiredError
from qtasks_core.contract import Storage
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from qtasks_core.contract import Depth, TaskRecord

__all__ = ["TwoFiles"]


async def _signature(key: str) -> int:
    """Stand for the task's code, which only the workers have."""
    raise NotImplementedError


class TwoFiles:
    """An app whose files are in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.app = QueueTasks(NAME, f"sqlite:///{folder}/{MESSAGES}", storage_url=f"sqlite:///{folder}/{RECORDS}")
        self.first = self.app.task(name="first")(_signature)

    async def depth(self) -> Depth:
        """Count the messages."""
        return await self.app.core.engine().broker.depth("default")

    async def records(self) -> dict[UUID, TaskRecord]:
        """Return all records."""
        storage = self.app.core.engine().storage
        assert isinstance(storage, Storage)
        return {record.uuid: record async for record in storage.scan()}

    async def is_settled(self) -> None:
        """Wait until no message is left, waiting, running or dead."""

        async def nothing_left() -> bool:
            return {0} == set(await self.depth())

        await eventually(nothing_left, PATIENCE_S, "every message settled")

    async def end_of(self, uuid: UUID) -> int:
        """Return the result of a task whose record may not be there yet."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    pid: int = await (await self.app.get(uuid)).result()
                    return pid
                except ResultExpiredError:
                    await asyncio.sleep(0.01)
