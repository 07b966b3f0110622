"""What one key of the global config holds: the fields of one state, who holds its locks, and its last writes."""

from __future__ import annotations

import msgspec

from qtasks_core.errors import WireError
from qtasks_depends.state.fields import Stored

__all__ = ["Bucket", "LockEntry"]

_WRITES = 32
_FORMAT = 1


class LockEntry(msgspec.Struct, array_like=True):
    """Who holds a lock, and until when (UTC epoch seconds)."""

    token: bytes
    until: float


class Bucket(msgspec.Struct, array_like=True):
    """One state, changed in place by who is about to write it."""

    number: int
    """Of the last write. The first is taken from the clock, so that no number comes twice, also after a deletion."""
    fields: dict[str, Stored] = msgspec.field(default_factory=dict)
    locks: dict[str, LockEntry] = msgspec.field(default_factory=dict)
    writes: list[bytes] = msgspec.field(default_factory=list)
    """The ids of the last writes, the newest last."""
    format: int = _FORMAT

    @classmethod
    def read(cls, raw: bytes | None, now: float) -> Bucket:
        """Return what was written, or an empty one.

        Parameters:
            raw: The value; None: there is none.
            now: The time (UTC epoch seconds).

        Raises:
            WireError: It is damaged, or a newer version has written it.
        """
        if raw is None:
            return cls(int(now * 1_000_000))
        try:
            found = msgspec.msgpack.decode(raw, type=cls)
        except msgspec.DecodeError as error:
            raise WireError(f"a state is damaged, or a newer version has written it: {error}") from error
        if found.format != _FORMAT:
            raise WireError(f"a state has format {found.format}: expected {_FORMAT}; a newer version has written it")
        return found

    def written(self, write: bytes) -> bytes:
        """Return what is kept after a change.

        Parameters:
            write: The id of this write.
        """
        self.number += 1
        self.writes = [*self.writes[1 - _WRITES :], write]
        return msgspec.msgpack.encode(self)

    def has(self, write: bytes, number: int) -> bool | None:
        """Tell whether a write was applied; None when that cannot be told any more.

        Parameters:
            write: Its id.
            number: Its number, if it was.
        """
        if write in self.writes:
            return True
        return False if self.number - len(self.writes) < number else None

    def forget_locks(self, now: float) -> None:
        """Let go of locks whose time is over."""
        self.locks = {name: entry for name, entry in self.locks.items() if entry.until > now}

    def ttl_s(self, ttl_s: float | None, empty_s: float, now: float) -> float | None:
        """Return how long it is kept, never shorter than a lock is held.

        Parameters:
            ttl_s: As its class says; None: for ever.
            empty_s: Without fields; its last writes can be asked for that long.
            now: The time (UTC epoch seconds).
        """
        least = ttl_s if self.fields else empty_s
        return None if least is None else max([least, *(entry.until - now for entry in self.locks.values())])
