"""What tasks yield: a file for each life of a task, a line for each value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from qtasks_core.contract import Event
from qtasks_core.errors import AlreadyFinal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from uuid import UUID

    from qtasks_dir._records import Records

__all__ = ["Reader", "append"]

Place = tuple[tuple[int, int, float], int]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def append(records: Records, uuid: UUID, events: Sequence[Event]) -> Exception | None:
    """Add to the stream of a task, in one write."""
    life = records.life(uuid)
    if life.is_final:
        return AlreadyFinal(f"task {uuid} has a final record")
    path = stream_path(records, uuid)
    # It begins with a line's end: half a line of a writer that died does not spoil the next one.
    lines = b"\n" + b"\n".join(_encode(event) for event in events) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(handle, lines)
    finally:
        os.close(handle)
    return None


def stream_path(records: Records, uuid: UUID) -> Path:
    """Return the stream of the life that counts."""
    return records.folder(uuid) / f"stream.{max(records.life(uuid).number, 0)}"


class Reader:
    """Reads on where it stopped.

    Parameters:
        place: What was seen before: a run, and a number in it.
    """

    def __init__(self, place: Place | None) -> None:
        self._place = place
        self._path: Path | None = None
        self._offset = 0

    def read(self, path: Path) -> list[Event]:
        """Return what is new: of the newest run only, each event once."""
        if path != self._path:
            self._path, self._offset = path, 0
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return self._news(whole.splitlines())

    def _news(self, lines: Iterable[bytes]) -> list[Event]:
        events = [event for line in lines if (event := _event_in(line)) is not None]
        newest = max((event.run for event in events), default=None)
        news: list[Event] = []
        for event in events:
            if event.run == newest and (self._place is None or (event.run, event.seq) > self._place):
                self._place = (event.run, event.seq)
                news.append(event)
        return news


def _event_in(line: bytes) -> Event | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
