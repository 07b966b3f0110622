"""Records of tasks: a folder for each, in which the first final record is the one that gets its name.

    UUID/open.LIFE       a record that is not final; the last writer's
    UUID/final.LIFE      the final one: made by a link, which fails where there is one
    UUID/stream.LIFE     what the task yields, a line each
    expiring/HOUR/UUID   which final records have to go in that hour

LIFE counts how often an operator sent the task again. The highest is the life that counts.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from qtasks_core.contract import FINAL, TaskRecord
from qtasks_core.errors import AlreadyExists, AlreadyFinal, ResultExpiredError
from qtasks_dir._files import listing, read, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qtasks_dir._space import Space

__all__ = ["Life", "Records", "unknown"]

logger = logging.getLogger("qtasks_dir")

_HOUR_S = 3600


class Life(NamedTuple):
    """What the folder of a task says.

    Parameters:
        number: The life that counts; -1: there is none.
        is_final: Whether it has its end.
    """

    number: int
    is_final: bool


class _Kept(Struct, array_like=True):
    """A file: a record, and when it may be forgotten (UTC epoch seconds)."""

    record: TaskRecord
    expires_at: float | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Records:
    """What can be done to records; safe beside other processes.

    Parameters:
        space: The app's files.
        result_ttl_s: How long a final record is kept that does not say so itself, in seconds.
    """

    def __init__(self, space: Space, result_ttl_s: float) -> None:
        self.section = space.records
        self._clock = space.clock
        self._result_ttl_s = result_ttl_s
        self._swept_at = 0.0
        self.tell: Callable[[], None] | None = None
        """Called when a sweep is about to remove something."""

    def folder(self, uuid: UUID) -> Path:
        """Return where everything about a task is."""
        return self.section.root / "tasks" / uuid.hex[-2:] / uuid.hex

    # ---------------------------------------------------------------- reading

    def life(self, uuid: UUID) -> Life:
        """Look which life counts, without opening anything."""
        found = [name.split(".") for name in listing(self.folder(uuid))]
        number, is_final = max(
            ((int(life), kind == "final") for kind, life in found if kind != "stream"), default=(-1, False)
        )
        return Life(number, is_final)

    def get(self, uuid: UUID) -> TaskRecord | None:
        """Return the record as it stands; one whose time is over is deleted."""
        while True:
            life = self.life(uuid)
            if life.number < 0:
                return None
            data = read(self._path(uuid, life))
            if data is None:  # it became final between the two looks
                continue
            kept = _kept_in(data)
            if kept is not None and (kept.expires_at is None or kept.expires_at > self._clock()):
                return kept.record
            if kept is None:
                logger.warning("the record of task %s cannot be read: it is deleted", uuid)
            self.delete(uuid)
            return None

    def uuids(self) -> Iterator[UUID]:
        """Yield the tasks that have a record."""
        for part in listing(self.section.root / "tasks"):
            for name in listing(self.section.root / "tasks" / part):
                yield UUID(name)

    def _path(self, uuid: UUID, life: Life) -> Path:
        return self.folder(uuid) / f"{'final' if life.is_final else 'open'}.{life.number}"

    # ---------------------------------------------------------------- writing

    def add(self, record: TaskRecord) -> Exception | None:
        """Insert a record where there is none, or only the end of an earlier life."""
        self.get(record.uuid)  # what expired is not there
        life = self.life(record.uuid)
        if life.number >= record.replays or (life.number >= 0 and not life.is_final):
            return AlreadyExists(record.uuid)
        path = self._path(record.uuid, Life(record.replays, is_final=False))
        is_new = self.section.publish_new(self._open_draft(record), path)
        return None if is_new else AlreadyExists(record.uuid)

    def mark(self, record: TaskRecord) -> TaskRecord | None:
        """Write that a run has begun, unless a later one has; return the record if it is final."""
        before = self.get(record.uuid)
        if before is not None:
            if before.status in FINAL and before.replays >= record.replays:
                return before
            if (record.replays, record.attempt) < (before.replays, before.attempt):
                return None
        self._write(record, before)
        return None

    def finish(self, record: TaskRecord) -> Exception | None:
        """Write a final or retry record, unless that life has its end."""
        before = self.get(record.uuid)
        life = self.life(record.uuid)
        if record.replays < life.number or (record.replays == life.number and life.is_final):
            return AlreadyFinal(f"task {record.uuid} has a final record")
        if record.status not in FINAL:
            self._write(record, before)
            return None
        return self._end(_completed(record, before))

    def _write(self, record: TaskRecord, before: TaskRecord | None) -> None:
        path = self._path(record.uuid, Life(record.replays, is_final=False))
        self.section.publish(self._open_draft(_completed(record, before)), path)

    def _open_draft(self, record: TaskRecord) -> Path:
        """Of the record of a task that goes on nothing is promised: the message is what counts."""
        return self.section.draft(_encode(_Kept(record)), is_promised=False)

    def _end(self, record: TaskRecord) -> Exception | None:
        ttl_s = self._result_ttl_s if record.ttl_s is None else record.ttl_s
        if ttl_s <= 0:
            self.delete(record.uuid)
            return None
        expires_at = self._clock() + ttl_s
        note = self.section.root / "expiring" / str(int(expires_at // _HOUR_S)) / record.uuid.hex
        self.section.publish(self.section.draft(b"", is_promised=False), note)
        path = self._path(record.uuid, Life(record.replays, is_final=True))
        if not self.section.publish_new(self.section.draft(_encode(_Kept(record, expires_at))), path):
            return AlreadyFinal(f"task {record.uuid} has a final record")
        self.section.sync([path.parent])
        for name in listing(path.parent):
            kind, life = name.split(".")
            if int(life) < record.replays or (kind == "open" and int(life) == record.replays):
                remove(path.parent / name)
        return None

    def delete(self, uuid: UUID) -> bool:
        """Delete all of a task; return whether there was something."""
        gone = self.section.draft_path("deleted")
        try:
            self.folder(uuid).rename(gone)
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def sweep(self) -> None:
        """Delete what has expired; once an hour, or when the clock was moved by one."""
        now = self._clock()
        if now - self._swept_at < _HOUR_S:
            return
        self._swept_at = now
        self.section.tidy()
        expiring = self.section.root / "expiring"
        over = [expiring / hour for hour in listing(expiring) if (int(hour) + 1) * _HOUR_S < now]
        if over and self.tell is not None:
            self.tell()
        for folder in over:
            self._sweep(folder)

    def _sweep(self, folder: Path) -> None:
        for name in listing(folder):
            self.get(UUID(name))
            remove(folder / name)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _kept_in(data: bytes) -> _Kept | None:
    try:
        return _decode(data)
    except msgspec.DecodeError:  # half written at a power cut, with sync=none
        return None


def unknown(uuid: UUID) -> ResultExpiredError:
    """Return the error for a task of which nothing is known."""
    return ResultExpiredError(f"nothing is known of task {uuid}: its result expired or was never kept")


def _completed(record: TaskRecord, before: TaskRecord | None) -> TaskRecord:
    """Return a record with what its writer did not know of the task."""
    if before is None:
        return record
    return replace(record, task_name=record.task_name or before.task_name, body=record.body or before.body)
