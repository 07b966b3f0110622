"""The global config's half of the server: small values with revisions, a time to live, and watchers.

Nothing here is safe for threads: `MemoryServer.step` is.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from qtasks_core.contract import Versioned

if TYPE_CHECKING:
    from qtasks_core.memory.signal import Signal

__all__ = ["Keys", "Watcher"]

ABSENT = Versioned(None, 0)


class Watcher:
    """Changes that one watch() has not yielded yet: the last of each key, so a slow reader costs no memory."""

    def __init__(self, prefix: str, present: dict[str, Versioned]) -> None:
        self.prefix = prefix
        self._changes = present
        self.signal: Signal[None] | None = None

    def note(self, key: str, value: Versioned) -> None:
        """Add a change."""
        self._changes.pop(key, None)  # to the end
        self._changes[key] = value
        if self.signal is not None:
            self.signal.give()

    def take(self) -> list[tuple[str, Versioned]]:
        """Return what is new."""
        changes, self._changes = self._changes, {}
        return list(changes.items())


class Keys:
    """Values by key. Revisions grow over all keys, so one that was deleted never comes back to an old revision."""

    def __init__(self) -> None:
        self._values: dict[str, Versioned] = {}
        self._expiring: list[tuple[float, int, str]] = []
        self._revisions = count(1)
        self._watchers: dict[Watcher, None] = {}

    def get(self, key: str) -> Versioned:
        """Return a value and its revision."""
        return self._values.get(key, ABSENT)

    def list(self, prefix: str) -> dict[str, Versioned]:
        """Return all values whose keys begin with *prefix*."""
        return {key: value for key, value in self._values.items() if key.startswith(prefix)}

    def put(self, key: str, value: bytes | None, ttl_s: float | None, now: float) -> int:
        """Write or, by None, delete; return the revision, 0 for what is absent now."""
        if value is None:
            if self._values.pop(key, None) is not None:
                self._tell(key, ABSENT)
            return 0
        revision = next(self._revisions)
        self._values[key] = Versioned(value, revision)
        if ttl_s is not None:
            heappush(self._expiring, (now + ttl_s, revision, key))
        self._tell(key, self._values[key])
        return revision

    def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None, now: float) -> int | None:
        """Write if the revision still holds."""
        return self.put(key, value, ttl_s, now) if self.get(key).revision == revision else None

    def clear(self) -> None:
        """Delete everything."""
        for key in list(self._values):
            self.put(key, None, None, 0.0)

    def sweep(self, now: float) -> None:
        """Delete what has expired."""
        while self._expiring and self._expiring[0][0] <= now:
            _, revision, key = heappop(self._expiring)
            if self.get(key).revision == revision:
                self.put(key, None, None, now)

    def next_expiry(self) -> float | None:
        """Return when the next key may expire."""
        return self._expiring[0][0] if self._expiring else None

    # ---------------------------------------------------------------- watchers

    def watch(self, prefix: str) -> Watcher:
        """Begin to note changes, what is there being the first."""
        watcher = Watcher(prefix, self.list(prefix))
        self._watchers[watcher] = None
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Note no more changes."""
        self._watchers.pop(watcher, None)

    def _tell(self, key: str, value: Versioned) -> None:
        for watcher in self._watchers:
            if key.startswith(watcher.prefix):
                watcher.note(key, value)
