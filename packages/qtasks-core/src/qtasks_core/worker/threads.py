"""Daemon threads of the worker's own for `def` tasks: never on the loop, and never in the way of an exit."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from qtasks_core.errors import Postpone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ThreadRunner"]

logger = logging.getLogger("qtasks.worker")

_NO_THREAD_S = 1.0
"""How long a task is given back for that finds no thread."""


class _Job:
    __slots__ = ("args", "context", "function", "future", "has_begun", "is_left", "kwargs")

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
        self.has_begun = False
        """Set by its thread, which looks at *is_left* next."""
        self.is_left = False
        """Set by the loop, which looks at *has_begun* next: whoever is second knows of the other, without a lock."""


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
        self._done: deque[tuple[_Job, Any, BaseException | None]] = deque()
        self._drain_scheduled = False
        self._busy = 0
        self._threads = 0
        self._abandoned: set[_Job] = set()

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function in a thread, in a copy of the caller's contextvars; return what it returns.

        A caller that is cancelled stops waiting; a function that has begun goes on, for a thread cannot be stopped: its
        thread is abandoned and another takes its place. One that has not begun is never called: its task may have been
        given to another worker.

        Raises:
            Postpone: No thread can be started, and there is none: the system has no more, or the interpreter ends.
            BaseException: What the function raises.
        """
        job = _Job(self._loop.create_future(), function, args, kwargs)
        self._busy += 1
        if self._busy > self._threads:
            self._start_thread()
            if not self._threads:
                self._busy -= 1
                raise Postpone(delay=_NO_THREAD_S)
        self._jobs.put(job)
        try:
            result, error = await job.future
        except asyncio.CancelledError:
            self._leave(job)
            raise
        if error is not None:
            raise error
        return result

    @property
    def abandoned(self) -> int:
        """Threads whose callers wait no more; each was replaced, and ends with its job."""
        return len(self._abandoned)

    def close(self) -> None:
        """Let idle threads end; busy ones end after their job."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start_thread(self) -> None:
        if self._busy > self._threads < self._most:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{self._threads + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # it says no more than that
                logger.error("a thread for tasks cannot be started, %d are there: %s", self._threads, error)  # noqa: TRY400
            else:
                self._threads += 1

    def _leave(self, job: _Job) -> None:
        """Wait no more for a job: one that waits is never called, one that runs goes on in a thread of no account."""
        job.is_left = True
        if job.has_begun:
            self._abandoned.add(job)
            self._busy -= 1
            self._threads -= 1
            self._start_thread()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            job.has_begun = True
            if not job.is_left:
                try:
                    result = job.context.run(job.function, *job.args, **job.kwargs)
                except BaseException as raised:  # noqa: BLE001  # SystemExit too ends the task, not the thread
                    error = raised
            self._done.append((job, result, error))
            del job, result, error  # an idle thread must not keep a task's values alive
            if not self._drain_scheduled:  # one wake-up for all that ends until the loop gets to it
                self._drain_scheduled = True
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _drain(self) -> None:
        self._drain_scheduled = False
        while self._done:
            job, result, error = self._done.popleft()
            if self._abandoned and job in self._abandoned:
                self._abandoned.discard(job)
                self._jobs.put(None)  # another thread works in its place: one is too many
                continue
            self._busy -= 1
            if not job.future.done():
                job.future.set_result((result, error))
