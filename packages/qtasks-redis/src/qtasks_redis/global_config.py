"""The global config: the cluster's small shared memory, on the same server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from qtasks_core.contract import Capability, Versioned
from qtasks_core.errors import QTasksError
from qtasks_redis._component import RedisComponent
from qtasks_redis._lua import load
from qtasks_redis._values import ms
from qtasks_redis._watching import ABSENT, Entry, Watcher, read_change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

__all__ = ["RedisGlobalConfig"]

PUT, LIST = load("config_put"), load("config_list")
AGAIN_S = 0.5
DELETE = b"-"


class RedisGlobalConfig(RedisComponent):
    """Share small values on one Redis server.

    Parameters:
        url: See docs/brokers/redis.md.
        context: The app's.

    Raises:
        ConfigError: The URL has another form.
    """

    capabilities: ClassVar[Capability] = Capability.CAS

    async def on_start(self) -> None:
        """Begin without watchers."""
        self._channel = self.link.keys.channel("config")
        self._watchers: set[Watcher] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_stop(self) -> None:
        """Hear nothing more."""
        for task in list(self._tasks):
            task.cancel()
        await self.link.listener.unlisten(self._channel, self)

    async def clear(self) -> None:
        """Delete all values of this namespace."""
        names = list(await self.list(""))
        if names:
            await self.ask(PUT, self._channel, *(arg for name in names for arg in (name.encode(), DELETE, b"", b"")))

    async def get(self, key: str) -> Versioned:
        """Return a value; revision 0: there is none."""
        return _versioned(await self.query(b"GET", self.link.keys.key(b"c:" + key.encode())))

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        """Return all values whose key begins with *prefix*."""
        return {name: entry.value for name, entry in (await self._load(prefix))[1].items()}

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        """Write a value.

        Parameters:
            key: Its key.
            value: None deletes it.
            ttl_s: Seconds after which it goes; None: never.
        """
        await self.ask(PUT, self._channel, key.encode(), _written(value), _ttl(ttl_s), b"")

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write a value if its revision still holds.

        Parameters:
            key: Its key.
            value: None deletes it.
            revision: The one that was read; 0: there was none.
            ttl_s: Seconds after which it goes; None: never.

        Returns:
            The new revision (0 when it is deleted), None when it was another.

        Raises:
            UnavailableError: Not written.
            SendUnknownError: No reply came: perhaps it was written.
        """
        answer: int | None = await self.link.run(
            PUT, self._channel, key.encode(), _written(value), _ttl(ttl_s), b"%d" % revision
        )
        return answer

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """Yield what is there, then what changes; of changes in quick succession the last."""
        watcher = Watcher(prefix, self._expired)
        self._watchers.add(watcher)
        try:
            await self.link.listener.listen(self._channel, self)  # first: what comes in between is only told twice
            watcher.load(watcher.restart(), *await self._load(prefix))
            while True:
                yield await watcher.next()
        finally:
            watcher.stop()
            self._watchers.discard(watcher)

    # ------------------------------------------------------------ what the channel brings

    def heard(self, payload: bytes) -> None:
        """Hear of a change; see Hearer."""
        name, entry = read_change(payload)
        for watcher in self._watchers:
            watcher.hear(name, entry)

    def lost(self) -> None:
        """Know that changes are missed; see Hearer."""

    def again(self) -> None:
        """Begin from the start; see Hearer."""
        for watcher in self._watchers:
            self._spawn(self._reload(watcher, watcher.restart()))

    def _expired(self, watcher: Watcher, name: str) -> None:
        self._spawn(self._look(watcher, name))

    async def _reload(self, watcher: Watcher, number: int) -> None:
        while watcher in self._watchers:
            try:
                watcher.load(number, *await self._load(watcher.prefix))
            except QTasksError:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _look(self, watcher: Watcher, name: str) -> None:
        try:
            entries = (await self._load(name))[1]
        except QTasksError:
            self._loop.call_later(AGAIN_S, self._expired, watcher, name)
        else:
            watcher.lapse(name, entries.get(name))

    async def _load(self, prefix: str) -> tuple[int, dict[str, Entry]]:
        revision, *rows = await self.ask(LIST, prefix.encode())
        entries = {}
        for at in range(0, len(rows), 3):
            value, left = _versioned(rows[at + 1]), int(rows[at + 2])
            entries[rows[at].decode()] = Entry(value, left / 1000 if left >= 0 else None, value.revision)
        return int(revision), entries

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._started:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            work.close()


def _versioned(kept: bytes | None) -> Versioned:
    if kept is None:
        return ABSENT
    revision, _, value = kept.partition(b":")
    return Versioned(value, int(revision))


def _written(value: bytes | None) -> bytes:
    return DELETE if value is None else b"+" + value


def _ttl(ttl_s: float | None) -> bytes:
    return b"" if ttl_s is None else ms(max(ttl_s, 0.001))
