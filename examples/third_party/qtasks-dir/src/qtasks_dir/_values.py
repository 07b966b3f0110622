"""Values with revisions: for each key one folder, whose name is its revision and which is renamed with each change.

    keys/KEY/REVISION/value            as it stands
    keys/KEY/REVISION~WRITER/value     somebody is about to write: only one can have renamed it to that

To write is to take the folder, by renaming it, to put another value into it, and to give it its next name. There is
only ever this one folder, so whoever comes late with an old revision finds nothing of that name, and whoever took too
long for it finds that it was taken back. A new key is renamed into its place with all that it has, and its first
revision is the time in microseconds: those of a key that is made anew are higher still.
"""

from __future__ import annotations

import contextlib
import secrets
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
_VALUE = "value"
_PATIENCE_S = 2.0
"""To write takes milliseconds; who takes longer is taken for dead."""
_PAUSE_S = 0.001
_SWEEP_EACH_S = 60.0
_GRACE_S = 3600.0


class _Kept(Struct, array_like=True):
    """A file: the key, its value (None: deleted), its revision, and until when it holds (UTC epoch seconds)."""

    key: str
    value: bytes | None
    revision: int
    expires_at: float | None = None


class Found(NamedTuple):
    """What there is of a key, deleted or expired as it may be, and the name of its folder just now."""

    kept: _Kept
    name: str

    @property
    def is_taken(self) -> bool:
        """Whether somebody is about to write."""
        return "~" in self.name


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

    def folder(self, key: str) -> Path:
        """Return where a key is."""
        return self.section.root / "keys" / quoted(key)

    def folders(self, prefix: str) -> list[Path]:
        """Return where keys are that may begin with *prefix*; of a long key the name has a part only."""
        start = quoted(prefix) if prefix else ""
        keys = self.section.root / "keys"
        return [keys / name for name in listing(keys) if name.startswith(start) or _may_fit(name, start)]

    # ---------------------------------------------------------------- reading

    def find(self, folder: Path) -> Found | None:
        """Return what is in a key's folder."""
        while True:
            name = self.name_in(folder)
            if name is None:
                return None
            data = read(folder / name / _VALUE)
            if data is not None:  # else it was renamed between the two looks
                return Found(_kept_in(data, name), name)

    def name_in(self, folder: Path) -> str | None:
        """Return the name of the one folder in a key's folder, which changes with each write."""
        return next(iter(listing(folder)), None)

    def seen(self, found: Found | None) -> Versioned:
        """Return what that is for whoever reads it now."""
        if found is None or found.kept.value is None:
            return ABSENT
        if found.kept.expires_at is not None and found.kept.expires_at <= self._clock():
            return ABSENT
        return Versioned(found.kept.value, found.kept.revision)

    # ---------------------------------------------------------------- writing

    def put(self, key: str, value: bytes | None, ttl_s: float | None) -> None:
        """Write, whatever is there."""
        while True:
            found = self._settled(key)
            if value is None and self.seen(found) == ABSENT:
                return
            if self._write(key, value, found, ttl_s) is not None:
                return

    def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None) -> int | None:
        """Write if the revision still holds; return the new one, None on conflict."""
        found = self._settled(key)
        if self.seen(found).revision != revision:
            return None
        return self._write(key, value, found, ttl_s)

    def _settled(self, key: str) -> Found | None:
        """Wait until nobody is about to write, and return what is there."""
        while (found := self.find(self.folder(key))) is not None and found.is_taken:
            self._take_back(self.folder(key), found)
            time.sleep(_PAUSE_S)
        return found

    def _take_back(self, folder: Path, found: Found) -> None:
        """Finish what a dead writer began: the value says whether it had got that far."""
        taken = folder / found.name
        with contextlib.suppress(FileNotFoundError):
            if time.time() - taken.stat().st_ctime > _PATIENCE_S:
                taken.rename(folder / _name_of(found.kept.revision))

    def _write(self, key: str, value: bytes | None, before: Found | None, ttl_s: float | None) -> int | None:
        expires_at = None if ttl_s is None else self._clock() + ttl_s
        if before is None:
            return self._create(_Kept(key, value, time.time_ns() // 1000, expires_at))
        taken = self._take(self.folder(key), before)
        if taken is None:
            return None
        after = _Kept(key, value, before.kept.revision + 1, expires_at)
        draft = self.section.draft(_encode(after))
        try:
            draft.rename(taken / _VALUE)
        except FileNotFoundError:  # taken back: we were too slow, and nothing is written
            remove(draft)
            return None
        with contextlib.suppress(FileNotFoundError):  # finished by another
            taken.rename(taken.with_name(_name_of(after.revision)))
        self.section.sync([self.folder(key)])
        return after.revision

    def _take(self, folder: Path, found: Found) -> Path | None:
        taken = folder / f"{found.name}~{secrets.token_hex(6)}"
        try:
            (folder / found.name).rename(taken)
        except FileNotFoundError:
            return None
        return taken

    def _create(self, first: _Kept) -> int | None:
        whole = self.section.draft_path("key")
        inner = whole / _name_of(first.revision)
        inner.mkdir(parents=True)
        self.section.draft(_encode(first)).rename(inner / _VALUE)
        try:
            self.section.publish(whole, self.folder(first.key))
        except OSError:  # it is not empty: another was first
            shutil.rmtree(whole)
            if not self.folder(first.key).exists():
                raise
            return None
        self.section.sync([self.folder(first.key), self.folder(first.key).parent])
        return first.revision

    # ---------------------------------------------------------------- forgetting

    def sweep(self) -> None:
        """Delete, once a minute, what was deleted or has expired an hour ago."""
        if time.time() - self._swept_at < _SWEEP_EACH_S:
            return
        self._swept_at = time.time()
        self.section.tidy()
        for folder in self.folders(""):
            found = self.find(folder)
            if found is not None and not found.is_taken and self.seen(found) == ABSENT:
                with contextlib.suppress(OSError):  # somebody else did it, or wrote
                    self._forget(folder, found)

    def _forget(self, folder: Path, found: Found) -> None:
        since = max((folder / found.name).stat().st_ctime, found.kept.expires_at or 0.0)
        if self._clock() - since > _GRACE_S and (taken := self._take(folder, found)) is not None:
            gone = self.section.draft_path("forgotten")
            taken.rename(gone)
            folder.rmdir()
            shutil.rmtree(gone, ignore_errors=True)


def _name_of(revision: int) -> str:
    return f"{revision:020d}"


def _kept_in(data: bytes, name: str) -> _Kept:
    try:
        return _decode(data)
    except msgspec.DecodeError:  # half written at a power cut, with sync=none
        return _Kept("", None, int(name.partition("~")[0]))


def _may_fit(name: str, start: str) -> bool:
    known, cut, _ = name.partition("%%")
    wanted = start.partition("%%")[0]
    return bool(cut) and (known.startswith(wanted) or wanted.startswith(known))
