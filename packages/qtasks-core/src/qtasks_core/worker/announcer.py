"""Tells the cluster that a worker is there, and warns when another worker of the app has other tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from qtasks_core.control import WORKER_PREFIX
from qtasks_core.errors import ItemError, SendUnknownError

if TYPE_CHECKING:
    from qtasks_core.app import App
    from qtasks_core.engine import Engine
    from qtasks_core.worker.worker import DefaultWorker

__all__ = ["Announcement", "Announcer"]

logger = logging.getLogger("qtasks.worker")

_TTL_S = 60.0
_EVERY_S = 20.0


class Announcement(Struct, kw_only=True):
    """What a worker says of itself in the global config, under `worker/NAME`."""

    name: str
    host: str
    pid: int
    started_at: float
    concurrency: int
    queues: tuple[str, ...]
    tasks: tuple[str, ...]


class Announcer:
    """Keeps one worker's announcement alive.

    Parameters:
        app: The app.
        engine: Its engine, whose global config is started.
        worker: The worker.
    """

    def __init__(self, app: App, engine: Engine, worker: DefaultWorker) -> None:
        self._shared_memory = engine.shared_memory
        self._key = f"{WORKER_PREFIX}{worker.name}"
        self._announcement = Announcement(
            name=worker.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=engine.context.clock(),
            concurrency=worker.concurrency,
            queues=worker.queues,
            tasks=tuple(sorted(app.tasks)),
        )
        self._warned: set[str] = set()

    async def run(self) -> None:
        """Announce the worker every 20 s until cancelled; a server that is away is tried again the next time."""
        if self._shared_memory is None:
            return
        value = msgspec.json.encode(self._announcement)
        while True:
            try:
                await self._shared_memory.announce(self._key, self._announcement, value, _TTL_S)
                await self._compare()
            except (ItemError, SendUnknownError) as error:
                logger.debug("the worker could not announce itself: %s", error)
            except Exception:  # the worker works, announced or not
                logger.exception("the worker could not announce itself")
            await asyncio.sleep(_EVERY_S)

    async def leave(self) -> None:
        """Take the announcement back."""
        if self._shared_memory is None:
            return
        try:
            await self._shared_memory.put(self._key, None)
        except Exception as error:  # noqa: BLE001  # a stop is held up by nothing
            logger.debug("the worker's announcement is left to expire: %s", error)

    async def _compare(self) -> None:
        if self._shared_memory is None:
            return
        for key, versioned in (await self._shared_memory.list(WORKER_PREFIX)).items():
            if key == self._key or versioned.value is None or key in self._warned:
                continue
            other = _read(versioned.value)
            if other is None:
                continue
            different = set(other.tasks) ^ set(self._announcement.tasks)
            if different:
                self._warned.add(key)
                logger.warning(
                    "worker %s serves the same app with other tasks; only one of the two has: %s",
                    other.name,
                    ", ".join(sorted(different)),
                )


def _read(value: bytes) -> Announcement | None:
    """Read what another worker said; None when its version says it in another way."""
    try:
        return msgspec.json.decode(value, type=Announcement)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
