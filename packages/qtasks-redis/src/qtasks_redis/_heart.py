"""The heartbeat of an app's workers: a thread with a loop and a connection of its own, which no task can hold up.

It renews the leases, and looks for workers whose lease has run out. While a server was away the leases of all ran out:
so the first look comes one full lease after the connection was made, when whoever lives has renewed its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from qtasks_core.errors import QTasksError
from qtasks_core.forks import after_fork
from qtasks_redis._lua import load
from qtasks_redis._values import ms

if TYPE_CHECKING:
    from qtasks_redis._home import Home

__all__ = ["BEATS", "Heart", "Member"]

BEAT = load("beat")
BEATS = 0.3
"""How often a lease is renewed, in leases."""
LEAST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0

logger = logging.getLogger("qtasks.redis")


class Member(Protocol):
    """A worker's broker, as the heart sees it."""

    worker: str
    epoch: int | None

    def tell_lost(self, epoch: int) -> None:
        """Hear, on any thread, that this registration is gone."""
        ...


class Heart:
    """Beats while there are members.

    Parameters:
        home: The server.
        lease_s: Seconds after which a silent worker is dead.
    """

    def __init__(self, home: Home, lease_s: float) -> None:
        self._home = home
        self._lease_s = lease_s
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._thread: threading.Thread | None = None
        self._over: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        after_fork(self, Heart._forget)

    def add(self, member: Member) -> None:
        """Renew the lease of a worker from now on."""
        with self._lock:
            if member not in self._members:
                self._members.append(member)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="qtasks-redis-heart", daemon=True)
                self._thread.start()

    def remove(self, member: Member) -> None:
        """Renew it no more; the thread ends with the last one."""
        with self._lock, contextlib.suppress(ValueError):
            self._members.remove(member)
            if not self._members and self._over is not None:
                loop, over = self._over
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(over.set)

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        connection: Any = None
        wait_s, since, told = LEAST_WAIT_S, 0.0, ""
        try:
            while not self._is_over(loop, over):
                try:
                    if connection is None or not connection.is_open:
                        connection = await self._home.dial()
                        since = loop.time()
                    await self._beat_once(connection, reaps=loop.time() - since >= self._lease_s)
                    wait_s, told = LEAST_WAIT_S, ""
                    pause_s = self._lease_s * BEATS
                except QTasksError as error:
                    if str(error) != told:
                        told = str(error)
                        logger.warning("the heartbeat: %s", error)
                    pause_s, wait_s = wait_s, min(wait_s * 2, LONGEST_WAIT_S)
                except Exception:
                    logger.exception("the heartbeat failed")
                    pause_s = LONGEST_WAIT_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await over.wait()
        finally:
            if connection is not None:
                connection.cut("the last worker was stopped")

    def _is_over(self, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> bool:
        with self._lock:
            self._over = (loop, over)
            over.clear()
            if not self._members:
                self._thread = self._over = None
                return True
            return False

    async def _beat_once(self, connection: Any, *, reaps: bool) -> None:
        with self._lock:
            members = {member.epoch: member for member in self._members if member.epoch is not None}
        names = [arg for epoch, member in members.items() for arg in (member.worker.encode(), b"%d" % epoch)]
        *lost, died, taken = await self._home.run_on(
            connection, BEAT, ms(self._lease_s), b"1" if reaps else b"0", *names
        )
        for epoch in map(int, lost):
            members[epoch].tell_lost(epoch)
        if died:
            logger.log(
                logging.WARNING if taken else logging.INFO,
                "%d worker(s) died; %d task(s) of theirs will run again",
                died,
                taken,
            )

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._members = []
        self._thread = self._over = None
