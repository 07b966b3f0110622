"""The global config of `memory://`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Versioned
from qtasks_core.memory.component import MemoryComponent
from qtasks_core.memory.signal import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["MemoryGlobalConfig"]


class MemoryGlobalConfig(MemoryComponent):
    """The app's small shared memory. See `MemoryComponent` for the parameters."""

    capabilities: ClassVar[Capability] = Capability.CAS

    async def clear(self) -> None:
        """Delete all keys."""
        with self.server.step:
            self.server.keys.clear()

    async def get(self, key: str) -> Versioned:
        """Return a value and its revision."""
        with self.server.step:
            return self.server.keys.get(key)

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        """Return all values whose keys begin with *prefix*."""
        with self.server.step:
            return self.server.keys.list(prefix)

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        """Write for good, or for *ttl_s* seconds; None deletes."""
        with self.server.step as now:
            self.server.keys.put(key, value, ttl_s, now)

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write if the revision still holds (0: absent); return the new one, 0 after a delete, None on conflict."""
        with self.server.step as now:
            return self.server.keys.cas(key, value, revision, ttl_s, now)

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """Yield what is there, then changes: of several to one key that nobody read yet, the last."""
        with self.server.step:
            watcher = self.server.keys.watch(prefix)
        try:
            while True:
                with self.server.step as now:
                    changes = watcher.take()
                    bell = watcher.signal = Signal[None]()
                    expiry = self.server.keys.next_expiry()
                for change in changes:
                    yield change
                if not changes:
                    await bell.wait(None if expiry is None else expiry - now)
        finally:
            with self.server.step:
                self.server.keys.unwatch(watcher)
