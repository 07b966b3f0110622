"""Daemon threads of the worker's own for `def` tasks: never on the loop, and never in the way of an exit."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

__all__ = ["ThreadRunner"]


class _Job(NamedTuple):
    future: asyncio.Future[tuple[Any, BaseException | None]]
    context: contextvars.Context
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


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

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function in a thread, in a copy of the caller's contextvars; return what it returns.

        A caller that is cancelled stops waiting; a function that has begun goes on, for a thread cannot be stopped. One
        that has not is never called: its task may have been given to another worker.
        """
        future: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()
        self._busy += 1
        if self._busy > self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put(_Job(future, contextvars.copy_context(), function, args, kwargs))
        result, error = await future
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let idle threads end; busy ones end after their job."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                if not job.future.cancelled():
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
            self._busy -= 1
            if not job.future.done():
                job.future.set_result((result, error))
