"""What operators do to a queue: look, send dead letters again, delete. A cursor is a file: KIND/NAME."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qtasks_dir._files import listing, quoted, read
from qtasks_dir._messages import Label, envelope_in, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qtasks_core.contract import Envelope
    from qtasks_dir._queues import Queues

__all__ = ["Operator"]

_KINDS = {"1": "ready", "2": "delayed", "3": "dead"}
"""By the first letter of a cursor, so that cursors sort as they are shown."""


class Operator:
    """Looks at messages and mends them.

    Parameters:
        queues: All of them.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def cursors(self, queue: str, *, is_dead: bool) -> list[str]:
        """Return what is there, in order."""
        self._queues.promote(queue)
        kinds = ("3",) if is_dead else ("1", "2")
        return [f"{kind}{name}" for kind in kinds for name in sorted(listing(self._path(queue, kind)))]

    def show(self, queue: str, cursor: str) -> tuple[Envelope, str] | None:
        """Return an envelope and the reason why it is dead; None: it is not there any more."""
        data = read(self._path(queue, cursor))
        return None if data is None else envelope_in(data, _uuid_of(cursor), queue)

    def purge(self, queue: str, cursors: Sequence[str] | None, *, is_dead: bool) -> int:
        """Delete messages; return how many."""
        there = self.cursors(queue, is_dead=is_dead)
        count = 0
        for cursor in self._chosen(there, cursors):
            with contextlib.suppress(FileNotFoundError):  # taken, or purged by another
                self._queues.forget(self._path(queue, cursor), _uuid_of(cursor))
                count += 1
        return count

    def replay(self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None) -> int:
        """Send dead letters again; return how many."""
        count = 0
        for cursor in self._chosen(self.cursors(queue, is_dead=True), cursors):
            with contextlib.suppress(FileNotFoundError):  # replayed by another
                self._replay(queue, cursor, rewrite)
                count += 1
        return count

    def _replay(self, queue: str, cursor: str, rewrite: Callable[[Envelope], Envelope]) -> None:
        """Take the letter away from the others, and let it wait in another form; dead again if this process dies."""
        section, path = self._queues.section, self._path(queue, cursor)
        mine = section.draft_path(f"replay~{quoted(queue)}~{path.name}")
        path.rename(mine)
        try:
            envelope = rewrite(envelope_in(mine.read_bytes(), _uuid_of(cursor), queue)[0])
        except BaseException:
            mine.rename(path)
            raise
        section.draft(pack(envelope)).rename(mine)
        label = Label(envelope.priority, self._queues.space.stamp(), envelope.uuid.hex)
        section.publish(mine, self._queues.path("ready", envelope.queue, label.ready))

    def _path(self, queue: str, cursor: str) -> Path:
        return self._queues.path(_KINDS[cursor[:1]], queue, cursor[1:])

    @staticmethod
    def _chosen(there: Sequence[str], cursors: Sequence[str] | None) -> list[str]:
        known = set(there)
        return [cursor for cursor in dict.fromkeys(there if cursors is None else cursors) if cursor in known]


def _uuid_of(cursor: str) -> str:
    return cursor.split("-")[1 if cursor[0] == "3" else 2]
