"""What every subscribed worker does beside its tasks: notice the dead and its own eviction, sweep what has expired."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from qtasks_core.errors import QTasksError
from qtasks_sqlite import _config, _sweeping, _workers
from qtasks_sqlite._liveness import bury, clean
from qtasks_sqlite._rows import SETTLED, to_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from qtasks_sqlite._database import Database
    from qtasks_sqlite._workers import Registration

__all__ = ["Upkeep"]

TICK_S = 0.5
SWEEP_TICKS = 10
BUSY_SWEEP_S = 0.02

logger = logging.getLogger("qtasks.sqlite")


class Holder(Protocol):
    """The broker, as its upkeep sees it."""

    lease: int | None

    async def rejoin(self, lease: int) -> None:
        """Register again: *lease* was taken away."""
        ...

    def wake(self) -> None:
        """Have who waits in receive() look again."""
        ...

    async def join(self) -> None:
        """Register, unless it is registered."""
        ...


class Seen(NamedTuple):
    """What one look finds."""

    registered: bool
    dead: Sequence[Registration]
    expired: bool


class Upkeep:
    """A task on the worker's loop.

    Parameters:
        database: The file.
        holder: Who rejoins after an eviction.
        dead_letter_max: Dead letters kept per queue.
    """

    def __init__(self, database: Database, holder: Holder, dead_letter_max: int) -> None:
        self._database = database
        self._holder = holder
        self._dead_letter_max = dead_letter_max
        self._ticks = 0
        self._fault = ""
        self._hurry = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="qtasks-sqlite-upkeep")

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def hurry(self) -> None:
        """Look at once: a worker has just been evicted, perhaps this one."""
        self._hurry.set()

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self._tick()
                self._fault = ""
            except QTasksError as error:
                if str(error) != self._fault:  # one that stays is told once
                    self._fault = str(error)
                    logger.warning("%s: %s", self._database.path, error)
            except Exception:
                logger.exception("%s: upkeep failed", self._database.path)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._hurry.wait()

    async def _tick(self) -> None:
        if self._database.replaced:
            self._holder.wake()  # and learn it from the writer
            return
        lease = self._holder.lease
        if lease is None:
            await self._holder.join()
            return
        sweeps = self._ticks % SWEEP_TICKS == 0
        self._ticks += 1
        now = to_micros(self._database.clock())
        seen = await self._database.read(lambda connection: _look(connection, self._database, lease, now))
        if not seen.registered:
            await self._holder.rejoin(lease)
        if seen.dead:
            await self._take_over(seen.dead)
        if seen.expired:
            for tell in list(self._database.sweeping.values())[:1]:
                tell()
        if sweeps or seen.expired:
            await self._sweep(now)

    async def _take_over(self, dead: Sequence[Registration]) -> None:
        taken = await self._database.write(lambda transaction: _workers.evict(transaction, dead))
        bury(self._database.path, [worker.lock for worker in dead])
        logger.log(
            logging.WARNING if taken else logging.INFO,
            "%d worker(s) died; %d task(s) of theirs will run again",
            len(dead),
            taken,
        )

    async def _sweep(self, now: int) -> None:
        more = True
        while more:
            more = await self._database.write(lambda transaction: _sweeping.sweep(transaction, now), durable=False)
            await asyncio.sleep(BUSY_SWEEP_S)
        ns = self._database.ns
        await self._database.write(lambda transaction: _config.lapse(transaction, ns, now), durable=False)
        workers = await self._database.read(_workers.find_all)
        clean(self._database.path, {worker.lock for worker in workers})
        await self._database.write(_sweeping.vacuum, durable=False)
        most = self._dead_letter_max
        await self._database.write(lambda transaction: _sweeping.trim_all(transaction, most), durable=False)


def _look(connection: sqlite3.Connection, database: Database, lease: int, now: int) -> Seen:
    expired = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM tasks WHERE expires <= ? AND state = {SETTLED})", (now,)
    ).fetchone()[0]
    return Seen(_workers.registered(connection, lease), _workers.find_dead(connection, database.path), bool(expired))
