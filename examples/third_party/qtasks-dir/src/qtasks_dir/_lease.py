"""A worker's lease: a thread says that it lives, and looks whether the others do."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from qtasks_dir._drafts import finish_drafts
from qtasks_dir._files import listing
from qtasks_dir._queues import BEAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_dir._queues import Queues

__all__ = ["Lease"]

_BEATS = 10  # per lease_ttl
_LOOKS = 5


class Lease:
    """One life of a worker.

    The thread goes on while a task blocks the event loop. It ends with the process, and a forked child has none.

    Parameters:
        queues: The messages.
        worker: The worker's name.
        ttl_s: Silence after which others take over, in seconds.
        lost: Called in the thread when this lease is lost.
    """

    def __init__(self, queues: Queues, worker: str, ttl_s: float, lost: Callable[[Lease], None]) -> None:
        self.worker = worker
        self.name = queues.open_lease(worker)
        self._queues = queues
        self._ttl_s = ttl_s
        self._lost = lost
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"qtasks-dir {worker}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Give back, uncharged, what is still held."""
        self._is_over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._queues.take_over(self.name, is_charged=False)

    def _live(self) -> None:
        beat, others = self._queues.held / self.name / BEAT, _Others(self._queues, self.name, self._ttl_s)
        while not self._is_over.wait(self._ttl_s / _BEATS):
            try:
                os.utime(beat)
            except FileNotFoundError:
                if not self._is_over.is_set():
                    self._lost(self)
                return
            except OSError:  # the disk may be there again before anybody takes over
                continue
            with contextlib.suppress(OSError):
                others.look()


class _Others:
    """Takes over from workers that were silent for a whole lease.

    Only time in which this thread looked counts: after a pause of the machine everybody has a lease to say a word.
    """

    def __init__(self, queues: Queues, own: str, ttl_s: float) -> None:
        self._queues = queues
        self._own = own
        self._ttl_s = ttl_s
        self._looked_at = time.monotonic()
        self._silent: dict[str, tuple[int, float]] = {}  # by lease: its last beat, and for how long there was none

    def look(self) -> None:
        """Look at each of them, unless that was a moment ago."""
        passed_s, longest_s = time.monotonic() - self._looked_at, self._ttl_s / _LOOKS
        if passed_s < longest_s / 2:
            return
        self._looked_at += passed_s
        leases = listing(self._queues.held)
        self._silent = {lease: self._silence(lease, min(passed_s, longest_s)) for lease in leases if lease != self._own}
        for lease, (_, silent_s) in self._silent.items():
            if silent_s >= self._ttl_s:
                self._queues.take_over(lease, is_charged=True)
        self._queues.recover()
        finish_drafts(self._queues)

    def _silence(self, lease: str, passed_s: float) -> tuple[int, float]:
        try:
            beat = (self._queues.held / lease / BEAT).stat().st_mtime_ns
        except FileNotFoundError:  # it is just being made, or its maker died before it was
            beat = 0
        before, silent_s = self._silent.get(lease, (beat, -passed_s))
        return (beat, silent_s + passed_s) if before == beat else (beat, 0.0)
