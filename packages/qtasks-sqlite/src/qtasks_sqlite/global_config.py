"""The global config: the cluster's small shared memory, in the same file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Versioned
from qtasks_sqlite import _config
from qtasks_sqlite._component import SqliteComponent
from qtasks_sqlite._reader import IDLE, PATIENT
from qtasks_sqlite._rows import to_micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Mapping

    from qtasks_sqlite._transaction import Effects, Transaction

__all__ = ["SqliteGlobalConfig"]


class SqliteGlobalConfig(SqliteComponent):
    """Share small values in one file, between processes of one machine.

    Parameters:
        url: `sqlite:///relative.db` or `sqlite:////absolute/path.db`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or its folder is not there.
    """

    capabilities: ClassVar[Capability] = Capability.CAS

    async def on_start(self) -> None:
        """Begin without watchers."""
        self._watchers: set[asyncio.Event] = set()
        self._seen = -1

    async def clear(self) -> None:
        """Delete all values of this namespace."""
        ns, now = self._database.ns, self._now()

        def run(transaction: Transaction) -> None:
            for key in _config.list_prefix(transaction.connection, ns, "", now):
                _config.write(transaction, ns, key, None, expires=None, now=now)

        await self._database.write(run)

    async def get(self, key: str) -> Versioned:
        """Return a value; revision 0: there is none."""
        ns, now = self._database.ns, self._now()
        return await self._database.read(lambda connection: _config.get(connection, ns, key, now))

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        """Return all values whose key begins with *prefix*."""
        ns, now = self._database.ns, self._now()
        return await self._database.read(lambda connection: _config.list_prefix(connection, ns, prefix, now))

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        """Write a value.

        Parameters:
            key: Its key.
            value: None deletes it.
            ttl_s: Seconds after which it goes; None: never.
        """
        ns, now, expires = self._database.ns, self._now(), self._expires(ttl_s)
        await self._database.write(
            lambda transaction: _config.write(transaction, ns, key, value, expires=expires, now=now)
        )

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write a value if its revision still holds.

        Parameters:
            key: Its key.
            value: None deletes it.
            revision: The one that was read; 0: there was none.
            ttl_s: Seconds after which it goes; None: never.

        Returns:
            The new revision (0 when it is deleted), None when it was another.
        """
        ns, now, expires = self._database.ns, self._now(), self._expires(ttl_s)

        def run(transaction: Transaction) -> int | None:
            if _config.get(transaction.connection, ns, key, now).revision != revision:
                return None
            return _config.write(transaction, ns, key, value, expires=expires, now=now)

        return await self._database.write(run)

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """Yield what is there, then what changes; of changes in quick succession the last."""
        ns = self._database.ns
        changed = asyncio.Event()
        self._watchers.add(changed)
        self.interest = PATIENT
        try:
            values, revision = await self._load(prefix)
            for key, value in values.items():
                yield key, value
            while True:
                self._database.poke()
                await changed.wait()
                changed.clear()
                found, revision = await self._database.read(
                    lambda connection, revision=revision: _config.changes(connection, ns, prefix, revision)  # type: ignore[misc]
                )
                for key, value in found:
                    yield key, value
        finally:
            self._watchers.discard(changed)
            if not self._watchers:
                self.interest = IDLE

    async def _load(self, prefix: str) -> tuple[Mapping[str, Versioned], int]:
        ns, now = self._database.ns, self._now()

        def ask(connection: sqlite3.Connection) -> tuple[Mapping[str, Versioned], int]:
            revision = _config.revision_of(connection, ns)  # first: what comes in between is only told twice
            return _config.list_prefix(connection, ns, prefix, now), revision

        return await self._database.read(ask)

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:  # noqa: ARG002
        """Look for changes, on the reader's thread."""
        revision = _config.revision_of(connection, self._database.ns)
        if revision != self._seen:
            self._seen = revision
            self._call(self._stir)
        due = _config.next_lapse(connection, self._database.ns)
        if due is not None and due <= self._now():
            self._call(self._lapse)
            return None
        return None if due is None else due / 1_000_000

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        if effects.config and self._watchers:
            self._call(self._stir)

    def _stir(self) -> None:
        for changed in self._watchers:
            changed.set()

    def _lapse(self) -> None:
        if self._started:
            ns, now = self._database.ns, self._now()
            job = self._database.write(lambda transaction: _config.lapse(transaction, ns, now), durable=False)
            job.add_done_callback(lambda job: job.cancelled() or job.exception())

    def _now(self) -> int:
        return to_micros(self._context.clock())

    def _expires(self, ttl_s: float | None) -> int | None:
        return None if ttl_s is None else to_micros(self._context.clock() + ttl_s)
