"""What one task yields, kept for whoever reads it."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Event
    from qtasks_core.memory.signal import Signal

__all__ = ["Run", "Stream"]

Run = tuple[int, int, float]


class Stream:
    """Events of the newest run, in order; readers keep their own place."""

    __slots__ = ("_events", "_run", "ended", "readers")

    def __init__(self) -> None:
        self._run: Run | None = None
        self._events: list[Event] = []
        self.readers: list[Signal[None]] = []
        self.ended = False

    def append(self, event: Event) -> None:
        """Keep *event*: a newer run starts over, an older one and a repeated number are dropped."""
        if self._run is None or event.run > self._run:
            self._run, self._events = event.run, [event]
        elif event.run == self._run and event.seq > self._events[-1].seq:
            self._events.append(event)
        else:
            return
        self._wake()

    def after(self, place: tuple[Run, int] | None) -> Sequence[Event]:
        """Return what a reader at *place* has not seen."""
        if place is None or self._run is None or place[0] < self._run:
            return self._events[:]
        if place[0] > self._run:
            return ()
        return self._events[bisect_right(self._events, place[1], key=lambda event: event.seq) :]

    def end(self) -> None:
        """Let the readers go once they have read all."""
        self.ended = True
        self._wake()

    def leave(self, reader: Signal[None]) -> None:
        """Note that a reader does not wait any more."""
        if reader in self.readers:
            self.readers.remove(reader)

    def _wake(self) -> None:
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.give()
