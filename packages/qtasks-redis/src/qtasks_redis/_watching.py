"""What a watcher of the shared memory has not been told yet: of each key the last that is known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from qtasks_core.contract import Versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ABSENT", "Entry", "Watcher", "read_change"]

ABSENT = Versioned(None, 0)
GRACE_S = 0.005  # the server's clock and this one are not the same


class Entry(NamedTuple):
    """A value as a watcher hears of it.

    Parameters:
        value: With its revision.
        ttl_s: Seconds that it lives; None: for ever.
        revision: Of the change, also where the value was deleted.
    """

    value: Versioned
    ttl_s: float | None
    revision: int


def read_change(payload: bytes) -> tuple[str, Entry]:
    """Read what the channel of the watchers says."""
    head, _, rest = payload.partition(b"\n")
    revision, ttl, length, kind = head.split(b" ")
    name, value = rest[: int(length)].decode(), rest[int(length) :]
    found = Versioned(value, int(revision)) if kind == b"+" else ABSENT
    return name, Entry(found, float(ttl) / 1000 if ttl else None, int(revision))


class Watcher:
    """One call of watch().

    Parameters:
        prefix: Of the keys.
        expired: Called with a key whose time may be over.
    """

    def __init__(self, prefix: str, expired: Callable[[Watcher, str], None]) -> None:
        self.prefix = prefix
        self._early: dict[str, Entry] = {}
        self._is_loaded = False
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._pending: dict[str, Versioned] = {}
        self._known: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._loaded = self._awaited = 0

    def restart(self) -> int:
        """Return the number of the load that is awaited from now on: others are of before.

        Changes were missed, or the server was replaced by one that has forgotten some, revisions among them.
        """
        self._is_loaded = False
        self._early.clear()
        self._awaited += 1
        return self._awaited

    def load(self, number: int, revision: int, entries: Mapping[str, Entry]) -> None:
        """Begin, or begin again, with all that is there."""
        if number != self._awaited:
            return
        self._is_loaded, self._loaded = True, revision
        for name in self._known - entries.keys():
            self._tell(name, ABSENT, None)
        for name, entry in sorted(entries.items(), key=lambda pair: pair[1].revision):
            self._tell(name, entry.value, entry.ttl_s)
        early, self._early = self._early, {}
        for name, entry in early.items():
            self.hear(name, entry)

    def hear(self, name: str, entry: Entry) -> None:
        """Take a change; what the load has had already is left out."""
        if not self._is_loaded:
            self._early.pop(name, None)  # the last one, at its own place
            self._early[name] = entry
        elif name.startswith(self.prefix) and entry.revision > self._loaded:  # the channel keeps their order
            self._tell(name, entry.value, entry.ttl_s)

    def lapse(self, name: str, entry: Entry | None) -> None:
        """Take what is there of a key whose time may be over."""
        if entry is not None:
            self._wait(name, entry.ttl_s)
        elif name in self._known:
            self._tell(name, ABSENT, None)

    async def next(self) -> tuple[str, Versioned]:
        """Return the next change."""
        while not self._pending:
            self._changed.clear()
            await self._changed.wait()
        name = next(iter(self._pending))
        return name, self._pending.pop(name)

    def stop(self) -> None:
        """End its timers."""
        for timer in self._timers.values():
            timer.cancel()

    def _tell(self, name: str, value: Versioned, ttl_s: float | None) -> None:
        self._pending.pop(name, None)  # of changes in quick succession the last, at its own place
        self._pending[name] = value
        if value.value is None:
            self._known.discard(name)
        else:
            self._known.add(name)
        self._wait(name, ttl_s)
        self._changed.set()

    def _wait(self, name: str, ttl_s: float | None) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        if ttl_s is not None:
            self._timers[name] = self._loop.call_later(ttl_s + GRACE_S, self._expired, self, name)
