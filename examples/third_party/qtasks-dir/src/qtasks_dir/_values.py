"""Values with revisions: a folder for each key, a file for each revision, of which the highest counts.

Whoever links the next number has written; whoever comes second has lost. A new key's folder is renamed into its place
with its first file in it, numbered by the time in microseconds: revisions of a key that is made anew are higher still.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from qtasks_core.contract import Versioned
from qtasks_dir._files import listing, quoted, read, remove

if TYPE_CHECKING:
    from pathlib import Path

    from qtasks_dir._space import Space

__all__ = ["ABSENT", "Found", "Values"]

ABSENT = Versioned(None, 0)
_SWEEP_EACH_S = 60.0
_GRACE_S = 3600.0
"""Nobody who has looked at a key is still about to write it after that time."""


class _Kept(Struct, array_like=True):
    """A file: the key, its value (None: deleted) and until when it holds (UTC epoch seconds)."""

    key: str
    value: bytes | None
    expires_at: float | None = None


class Found(NamedTuple):
    """The last revision of a key, deleted or expired as it may be."""

    key: str
    revision: int
    value: bytes | None
    expires_at: float | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Values:
    """What can be done to values; safe beside other processes.

    Parameters:
        space: The app's files.
    """

    def __init__(self, space: Space) -> None:
        self.section = space.config
        self._clock = space.clock
        self._swept_at = time.time()

    @property
    def _keys(self) -> Path:
        return self.section.root / "keys"

    def names(self, prefix: str) -> list[str]:
        """Return the folders whose keys may begin with *prefix*; a long key is known by a part of it only."""
        start = quoted(prefix) if prefix else ""
        plain = start.partition("%%")[0]
        return [name for name in listing(self._keys) if name.startswith(start) or ("%%" in name and _fits(name, plain))]

    def find(self, name: str) -> Found | None:
        """Return the last revision in a folder."""
        folder = self._keys / name
        while True:
            last = max(listing(folder), default=None)
            if last is None:
                return None
            data = read(folder / last)
            if data is None:  # a newer one has just come
                continue
            try:
                kept = _decode(data)
            except msgspec.DecodeError:  # half written at a power cut, with sync=none: the one before counts
                remove(folder / last)
                continue
            return Found(kept.key, int(last), kept.value, kept.expires_at)

    def last_revision(self, name: str) -> int:
        """Return the number of the last revision in a folder, without opening it."""
        return int(max(listing(self._keys / name), default="0"))

    def seen(self, found: Found | None) -> Versioned:
        """Return what that is for whoever reads it now."""
        if found is None or found.value is None:
            return ABSENT
        if found.expires_at is not None and found.expires_at <= self._clock():
            return ABSENT
        return Versioned(found.value, found.revision)

    def get(self, key: str) -> Versioned:
        """Return a value and its revision."""
        return self.seen(self.find(quoted(key)))

    def put(self, key: str, value: bytes | None, ttl_s: float | None) -> None:
        """Write, whatever is there."""
        while True:
            found = self.find(quoted(key))
            if value is None and self.seen(found) == ABSENT:
                return
            if self._write(key, value, found, ttl_s) is not None:
                return

    def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None) -> int | None:
        """Write if the revision still holds; return the new one, None on conflict."""
        found = self.find(quoted(key))
        if self.seen(found).revision != revision:
            return None
        return self._write(key, value, found, ttl_s)

    def _write(self, key: str, value: bytes | None, before: Found | None, ttl_s: float | None) -> int | None:
        folder = self._keys / quoted(key)
        draft = self.section.draft(_encode(_Kept(key, value, None if ttl_s is None else self._clock() + ttl_s)))
        if before is None:
            return self._create(draft, folder)
        revision = before.revision + 1
        if not self.section.publish_new(draft, folder / f"{revision:020d}"):
            return None
        self.section.sync([folder])
        for name in listing(folder):
            if int(name) < revision:
                remove(folder / name)
        return revision

    def _create(self, draft: Path, folder: Path) -> int | None:
        revision = time.time_ns() // 1000
        whole = self.section.draft_path("key")
        whole.mkdir()
        draft.rename(whole / f"{revision:020d}")
        try:
            self.section.publish(whole, folder)
        except OSError:  # it is not empty: another was first
            shutil.rmtree(whole)
            if not folder.exists():
                raise
            return None
        self.section.sync([folder.parent])
        return revision

    def sweep(self) -> None:
        """Delete, each minute, what was deleted or has expired long ago."""
        if time.time() - self._swept_at < _SWEEP_EACH_S:
            return
        self._swept_at = time.time()
        for name in listing(self._keys):
            found = self.find(name)
            if found is not None and self.seen(found) == ABSENT:
                self._forget(self._keys / name / f"{found.revision:020d}", found)

    def _forget(self, path: Path, found: Found) -> None:
        with contextlib.suppress(OSError):  # somebody else did it, or wrote
            since = max(path.stat().st_mtime, found.expires_at or 0.0)
            if self._clock() - since > _GRACE_S:
                remove(path)
                path.parent.rmdir()


def _fits(name: str, plain: str) -> bool:
    known = name.partition("%%")[0]
    return known.startswith(plain) or plain.startswith(known)
