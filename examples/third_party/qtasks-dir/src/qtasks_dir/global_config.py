"""The global config: values with revisions, in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Versioned
from qtasks_dir._files import Pauses, off_loop, reachable
from qtasks_dir._space import Space
from qtasks_dir._values import ABSENT, Values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from qtasks_core.contract import ComponentContext
    from qtasks_dir._values import Found

__all__ = ["DirGlobalConfig"]


class DirGlobalConfig:
    """Keep what a cluster shares in a directory: with revisions, times to live and compare-and-set.

    Parameters:
        url: As that of `DirBroker`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or the directory's parent is not there.
    """

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability.CAS

    def __init__(self, url: str, context: ComponentContext) -> None:
        self._values = Values(Space.shared(url, context))

    async def start(self) -> None:
        """Make the folders that are missing."""
        await off_loop(self._values.section.open)

    async def stop(self) -> None:
        """Do nothing: nothing is open."""

    async def clear(self) -> None:
        """Delete all values."""
        await off_loop(self._values.section.clear)

    async def get(self, key: str) -> Versioned:
        """Return a value and its revision."""
        return await off_loop(lambda: self._values.seen(self._values.find(self._values.folder(key))))

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        """Return what is there under keys that begin with *prefix*."""

        def found() -> dict[str, Versioned]:
            folders = self._values.folders(prefix)
            all_found = [one for folder in folders if (one := self._values.find(folder)) is not None]
            there = {one.kept.key: self._values.seen(one) for one in all_found if one.kept.key.startswith(prefix)}
            return {key: value for key, value in there.items() if value != ABSENT}

        return await off_loop(found)

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        """Write, whatever is there; None deletes."""

        def put() -> None:
            self._values.put(key, value, ttl_s)
            self._values.sweep()

        await off_loop(put)

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write if the revision still holds; return the new one, None on conflict."""
        return await off_loop(lambda: self._values.cas(key, value, revision, ttl_s))

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """Yield what is there, then what changes; of many changes of a key between two looks the last."""
        pauses = Pauses()
        last: dict[Path, Found] = {}
        told: dict[str, Versioned] = {}
        while True:
            with reachable():
                last = self._look(prefix, last)
            all_keys = {found.kept.key: self._values.seen(found) for found in last.values()}
            now = {key: found for key, found in all_keys.items() if key.startswith(prefix)}
            news = [(key, now.get(key, ABSENT)) for key in {**told, **now}]
            changes = [(key, found) for key, found in news if found != told.get(key, ABSENT)]
            told = {key: found for key, found in now.items() if found != ABSENT}
            for change in changes:
                yield change
            if changes:
                pauses = Pauses()
            await pauses.wait()

    def _look(self, prefix: str, last: dict[Path, Found]) -> dict[Path, Found]:
        """Look at all keys, and open those that were written to since."""
        found: dict[Path, Found] = {}
        for folder in self._values.folders(prefix):
            before = last.get(folder)
            is_same = before is not None and not before.is_taken and before.name == self._values.name_in(folder)
            now = before if is_same else self._values.find(folder)
            if now is not None:
                found[folder] = now
        return found
