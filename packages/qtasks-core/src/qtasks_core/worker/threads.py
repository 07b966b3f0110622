"""Daemon threads of the worker's own for `def` tasks: never on the loop, and never in the way of an exit."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ThreadRunner"]

_WAITS, _RUNS, _LEFT, _OVER = range(4)


class _Job:
    __slots__ = ("args", "context", "function", "future", "kwargs", "state")

    def __init__(
        self,
        future: asyncio.Future[tuple[Any, BaseException | None]],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.future = future
        self.context = contextvars.copy_context()
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.state = _WAITS


class ThreadRunner:
    """Runs functions in up to *most* threads, started when they are needed.

    Parameters:
        loop: The loop that waits for the results.
        most: Threads at the same time; more jobs wait.
        name: Of the threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int, name: str) -> None:
        self._loop = loop
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[_Job, Any, BaseException | None, bool]] = deque()
        self._drain_scheduled = False
        self._lock = threading.Lock()
        self._busy = 0
        self._threads = 0
        self.abandoned = 0
        """Threads whose callers wait no more; each was replaced, and ends with its job."""

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function in a thread, in a copy of the caller's contextvars; return what it returns.

        A caller that is cancelled stops waiting; a function that has begun goes on, for a thread cannot be stopped: its
        thread is abandoned and another takes its place. One that has not begun is never called: its task may have been
        given to another worker.
        """
        job = _Job(self._loop.create_future(), function, args, kwargs)
        self._busy += 1
        self._start_thread()
        self._jobs.put(job)
        try:
            result, error = await job.future
        except asyncio.CancelledError:
            self._leave(job)
            raise
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let idle threads end; busy ones end after their job."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start_thread(self) -> None:
        if self._busy > self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()

    def _leave(self, job: _Job) -> None:
        """Wait no more for a job: one that waits is never called, one that runs goes on in a thread of no account."""
        with self._lock:
            runs = job.state == _RUNS
            if job.state in {_WAITS, _RUNS}:
                job.state = _LEFT
        if runs:
            self.abandoned += 1
            self._busy -= 1
            self._threads -= 1
            self._start_thread()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error, is_left = None, None, False
            if self._turns(job, _WAITS, _RUNS):
                try:
                    result = job.context.run(job.function, *job.args, **job.kwargs)
                except BaseException as raised:  # noqa: BLE001  # SystemExit too ends the task, not the thread
                    error = raised
                is_left = not self._turns(job, _RUNS, _OVER)
            self._done.append((job, result, error, is_left))
            del job, result, error  # an idle thread must not keep a task's values alive
            if not self._drain_scheduled:  # one wake-up for all that ends until the loop gets to it
                self._drain_scheduled = True
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return
            if is_left:  # another thread works in its place
                return

    def _turns(self, job: _Job, before: int, after: int) -> bool:
        with self._lock:
            if job.state != before:
                return False
            job.state = after
            return True

    def _drain(self) -> None:
        self._drain_scheduled = False
        while self._done:
            job, result, error, is_left = self._done.popleft()
            if is_left:
                self.abandoned -= 1
                continue
            self._busy -= 1
            if not job.future.done():
                job.future.set_result((result, error))
