"""Who sees to it that delayed messages wait no longer than they should."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qtasks_core.errors import QTasksError
from qtasks_redis._lua import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from qtasks_redis._link import Link

__all__ = ["Mover"]

DUE = load("due")
LEAST_S, AGAIN_S = 0.002, 1.0


class Mover:
    """Sleeps until the next message of some queues is due, and has the server push what is.

    Parameters:
        link: The way to the server.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._queues: Collection[str] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._moving: asyncio.Task[None] | None = None
        self._is_asked = False

    def follow(self, queues: Collection[str]) -> None:
        """Look after these queues from now on."""
        self._queues = queues
        self.look()

    def stop(self) -> None:
        """Look after none."""
        self._queues = ()
        for one in (self._timer, self._moving):
            if one is not None:
                one.cancel()
        self._timer = None

    def hint(self, due_ms: float) -> None:
        """Hear that something is due in so many milliseconds; below 0: nothing is."""
        if due_ms < 0:
            return
        at = self._loop.time() + max(due_ms / 1000, LEAST_S)
        if self._timer is None or self._timer.when() > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self.look)

    def heard(self, payload: bytes) -> None:
        """Hear the channel of the movers: a message was added that is due before all others of its queue."""
        due_ms, _, queue = payload.partition(b" ")
        if queue.decode() in self._queues:
            self.hint(float(due_ms))

    def lost(self) -> None:
        """Look all the same when it is time: what was said is known."""

    def again(self) -> None:
        """Look after what was added meanwhile."""
        self.look()

    def look(self) -> None:
        """Look now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queues:
            return
        if self._moving is not None and not self._moving.done():
            self._is_asked = True
            return
        self._moving = self._loop.create_task(self._move())

    async def _move(self) -> None:
        self._is_asked = True
        while self._is_asked:
            self._is_asked = False
            try:
                self.hint(await self._link.run(DUE, *(queue.encode() for queue in self._queues)))
            except QTasksError:
                self.hint(AGAIN_S * 1000)
