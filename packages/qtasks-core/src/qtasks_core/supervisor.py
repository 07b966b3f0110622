"""The supervisor of `--processes N`: keeps N worker processes alive, each for itself, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from qtasks_core.exits import how_it_ended
from qtasks_core.stop_signals import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import FrameType, TracebackType

    from qtasks_core.parent import ParentWatch

__all__ = ["EXIT_CONFIG", "EXIT_RESTART", "Backoff", "Supervisor"]

EXIT_CONFIG = 2
"""Exit code of a worker whose configuration is wrong."""
EXIT_RESTART = 75
"""Exit code of a worker that has drained and asks for a new process (EX_TEMPFAIL)."""

_PROVEN_S = 10.0
_LONGEST_PAUSE_S = 30.0
_EVICT_S = 5.0

_log = logging.getLogger("qtasks.supervisor")


class Supervisor:
    """Start worker processes and start each anew when it dies, until a signal (or the parent's death) says stop.

    Parameters:
        command: Makes the command line of a worker from the worker's name.
        processes: How many workers.
        name: Start of each worker's name; every process gets a name that no process before it had.
        evict: Takes the deliveries of a dead worker away; answers how many. Called on a thread, with a loop of its own.
        stop_timeout_s: Seconds that workers may take to end after SIGTERM; then they are killed.
        parent: Whose death means stop; None lets the supervisor outlive the process that started it.
        cwd: Working directory of the workers; None: that of the supervisor.
        waits: A worker that failed is started anew with the next `recycle()` only: its code has to change first.
    """

    def __init__(
        self,
        command: Callable[[str], Sequence[str]],
        *,
        processes: int,
        name: str,
        evict: Callable[[str], Coroutine[Any, Any, int]],
        stop_timeout_s: float,
        parent: ParentWatch | None = None,
        cwd: str | None = None,
        waits: bool = False,
    ) -> None:
        self._command = command
        self._evict = evict
        self._stop_timeout_s = stop_timeout_s
        self._parent = parent
        self._cwd = cwd
        self._waits = waits
        self._recycling = False
        self._slots = [_Slot(f"{name}-{number}") for number in range(1, processes + 1)]
        self._signals = _Signals()
        self._stopping = False
        self._asked = StopSignals()
        self._proven = False
        self._kill_at: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Run until all workers have ended after a stop; on the main thread, where signals arrive.

        Returns:
            0: all ended cleanly; 1: one had to be killed or ended otherwise; 2: a worker refused its configuration.
        """
        with self._signals:
            for slot in self._slots:
                self._spawn(slot)
            while not self._over():
                for signum in self._signals.wait(self._pause()):
                    self._obey(signum)
                self._look_at_parent()
                self._reap()
                self._recycle()
                self._revive()
                self._enforce()
        _log.info("all workers have ended; exit code %d", self._exit_code)
        return self._exit_code

    def recycle(self) -> None:
        """Replace each worker by a new process when it has drained; may be called on any thread."""
        self._recycling = True
        self._signals.wake()

    def _over(self) -> bool:
        return self._stopping and not any(slot.process or slot.evicting() for slot in self._slots)

    def _pause(self) -> float | None:
        """Return the seconds until something falls due; None: only a signal can change anything."""
        due = [slot.due_at for slot in self._slots if slot.due_at is not None]
        if self._kill_at is not None:
            due.append(self._kill_at)
        pauses = [max(0.0, min(due) - time.monotonic())] if due and min(due) < float("inf") else []
        if self._parent is not None and not self._stopping:
            pauses.append(self._parent.interval_s)
        return min(pauses, default=None)

    # ------------------------------------------------------------ one worker's life

    def _spawn(self, slot: _Slot) -> None:
        name = slot.next_name()
        try:
            slot.process = self._popen(name)
        except OSError as error:
            pause = slot.backoff.after(0.0)
            slot.restart_at = time.monotonic() + pause
            _log.error("worker %s cannot be started: %s; trying again in %g s", name, error, pause)
            return
        slot.started_at = time.monotonic()
        _log.info("worker %s is process %d", name, slot.process.pid)

    def _popen(self, name: str) -> subprocess.Popen[bytes]:
        # A Ctrl-C reaches the whole terminal group, and only our SIGTERM shall count: children inherit a mask that
        # blocks SIGINT from their first instruction on. Ours stays pending meanwhile, so none is lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(self._command(name), stdin=subprocess.DEVNULL, cwd=self._cwd)  # noqa: S603
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is not None and (code := slot.process.poll()) is not None:
                self._buried(slot, slot.process.pid, code)

    def _buried(self, slot: _Slot, pid: int, code: int) -> None:
        now = time.monotonic()
        lived_s = now - slot.started_at
        oldest_s = max(now - other.started_at for other in self._slots if other.process)
        self._proven = self._proven or oldest_s >= _PROVEN_S
        slot.process = None
        if self._stopping or slot.kill_at is not None:
            self._ended(slot, pid, code)
            return
        _log.warning("worker %s (process %d) %s after %.1f s", slot.name, pid, _how(code), lived_s)
        slot.eviction = self._start_eviction(slot.name)
        if code == EXIT_CONFIG and not self._proven and not self._waits:
            self._exit_code = EXIT_CONFIG
            self._stop("a worker refused its configuration; its message is above")
            return
        if self._waits and code != EXIT_RESTART:
            _log.info("worker %s is replaced when a file has changed", slot.name)
            return
        pause = 0.0 if code == EXIT_RESTART else slot.backoff.after(lived_s)  # which is no failure
        slot.restart_at = now + pause
        _log.info("worker %s is replaced %s", slot.name, f"in {pause:g} s" if pause else "at once")

    def _ended(self, slot: _Slot, pid: int, code: int) -> None:
        """Note the end of a worker that was asked to stop."""
        _log.info("worker %s (process %d) %s", slot.name, pid, _how(code))
        if code:
            slot.eviction = self._start_eviction(slot.name)
        if not self._stopping:
            slot.kill_at, slot.restart_at = None, time.monotonic()
            return
        # Killed by our SIGTERM: it was still starting, before its handlers were there, and held nothing.
        if code not in (0, EXIT_RESTART, -signal.SIGTERM):
            self._exit_code = self._exit_code or 1

    def _start_eviction(self, name: str) -> _Eviction:
        eviction = _Eviction(name, self._evict, self._signals.wake)
        eviction.start()
        return eviction

    def _revive(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.evicting() or self._stopping:
                continue
            if slot.restart_at is not None and slot.restart_at <= now:
                slot.restart_at = None
                self._spawn(slot)

    def _recycle(self) -> None:
        if not self._recycling or self._stopping:
            return
        self._recycling = False
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None:
                slot.restart_at = now
            elif slot.kill_at is None:
                slot.kill_at = now + self._stop_timeout_s
                slot.send_signal(signal.SIGTERM)

    # ------------------------------------------------------------ the end

    def _obey(self, signum: int) -> None:
        if signum not in (signal.SIGTERM, signal.SIGINT):
            return
        name = signal.Signals(signum).name
        heard = self._asked.hear(signum)
        if heard == "stop":
            self._stop(f"got {name}")
        elif heard == "now":
            _log.warning("got %s again: killing the workers", name)
            self._kill()

    def _look_at_parent(self) -> None:
        if self._parent is not None and not self._stopping and self._parent.gone():
            self._stop("the parent process is dead")

    def _stop(self, reason: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._kill_at = time.monotonic() + self._stop_timeout_s
        _log.info("%s: stopping the workers (up to %g s)", reason, self._stop_timeout_s)
        for slot in self._slots:
            slot.restart_at = None
            slot.send_signal(signal.SIGTERM)

    def _enforce(self) -> None:
        for slot in self._slots:
            if slot.kill_at is not None and slot.kill_at <= time.monotonic():
                _log.warning("worker %s did not stop within %g s: killing it", slot.name, self._stop_timeout_s)
                slot.kill_at = float("inf")
                slot.send_signal(signal.SIGKILL)
        if self._kill_at is not None and self._kill_at <= time.monotonic():
            _log.warning("workers did not stop within %g s: killing them", self._stop_timeout_s)
            self._kill()

    def _kill(self) -> None:
        self._kill_at = None
        for slot in self._slots:
            slot.send_signal(signal.SIGKILL)


class Backoff:
    """Pauses before a new start: none, then 1, 2, 4 … up to 30 s; from none again once a process lived 10 s."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, lived_s: float) -> float:
        """Count one death and return the pause that follows it.

        Parameters:
            lived_s: Seconds that the process lived.

        Returns:
            Seconds to wait.
        """
        if lived_s >= _PROVEN_S:
            self._failures = 0
        pause = min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_S) if self._failures else 0.0
        self._failures = min(self._failures + 1, 16)
        return pause


class _Slot:
    """The place of one worker: the process that fills it now, and what is due before the next one may."""

    def __init__(self, name: str) -> None:
        self._base = name
        self._runs = 0
        self.name = name
        self.backoff = Backoff()
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.kill_at: float | None = None
        """When it has to have ended, once it is being replaced."""
        self.eviction: _Eviction | None = None

    def next_name(self) -> str:
        """Name the next process; never as one before, so that an eviction which comes late cannot hit the successor."""
        self._runs += 1
        self.name = f"{self._base}-{self._runs}"
        return self.name

    def evicting(self) -> bool:
        if self.eviction is not None and self.eviction.over():
            self.eviction = None
        return self.eviction is not None

    @property
    def due_at(self) -> float | None:
        if self.eviction is not None:
            return self.eviction.until
        return self.restart_at if self.kill_at is None else self.kill_at

    def send_signal(self, signum: int) -> None:
        if self.process is not None:
            self.process.send_signal(signum)


class _Eviction(threading.Thread):
    """Take a dead worker's deliveries away, on a thread: a server that hangs must not make the supervisor deaf."""

    def __init__(self, worker: str, evict: Callable[[str], Coroutine[Any, Any, int]], wake: Callable[[], None]) -> None:
        super().__init__(name=f"evict {worker}", daemon=True)
        self._worker = worker
        self._evict = evict
        self._wake = wake
        self._done = False
        # The coroutine has _EVICT_S; one that even withstands its cancellation is left behind a second later.
        self.until = time.monotonic() + _EVICT_S + 1.0

    def over(self) -> bool:
        if self._done:
            return True
        if time.monotonic() < self.until:
            return False
        _log.warning("the deliveries of %s could not be evicted in time; going on without", self._worker)
        return True

    def run(self) -> None:
        try:
            count = asyncio.run(asyncio.wait_for(self._evict(self._worker), _EVICT_S))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not hold up the restart
            text = str(error) or type(error).__name__
            _log.warning("the deliveries of %s could not be evicted: %s", self._worker, text)
        else:
            _log.log(logging.INFO if count else logging.DEBUG, "evicted %d deliveries of %s", count, self._worker)
        finally:
            self._done = True  # before the wake: who is woken must see it, and the thread itself ends later
            self._wake()


class _Signals:
    """Signals as something to wait for: handlers do nothing, their numbers arrive through a socket.

    That is `signal.set_wakeup_fd`, which Linux and macOS both have; a waiting supervisor uses no CPU.
    """

    def __enter__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._receiver, selectors.EVENT_READ)
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        self._wakeup_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._handlers = {signum: signal.signal(signum, _noted) for signum in wanted}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._selector.close()
        self._receiver.close()
        self._sender.close()

    def wait(self, timeout_s: float | None) -> bytes:
        """Return the numbers of the signals that came, as bytes; 0 stands for a call of `wake()`."""
        self._selector.select(timeout_s)
        with contextlib.suppress(BlockingIOError):
            return self._receiver.recv(4096)
        return b""

    def wake(self) -> None:
        """End a `wait()`; may be called on any thread."""
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits any more
            self._sender.send(b"\0")


def _noted(signum: int, frame: FrameType | None) -> None:
    """Do nothing: a signal needs a handler to reach the wakeup socket."""


def _how(code: int) -> str:
    """Say how a process died."""
    if code == EXIT_RESTART:
        return f"asked to be restarted (exit code {code})"
    return how_it_ended(code)
