"""The way from blocking code to the engine: an event loop in a daemon thread, or the worker's own loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from qtasks_core.errors import BlockingCallError
from qtasks_core.forks import after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Portal"]

T = TypeVar("T")

_EXIT_TIMEOUT_S = 5.0


class Portal:
    """Runs coroutines for threads that have no event loop.

    Parameters:
        name: Of the thread.
        close: Run on the portal's loop before it ends.
    """

    def __init__(self, name: str, close: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._close = close
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._borrowed: asyncio.AbstractEventLoop | None = None
        after_fork(self, Portal._forget)

    def lend(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Use a worker's running loop instead of an own one; None ends that."""
        self._borrowed = loop

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, hint: str = "app.aio") -> T:
        """Run a coroutine function on the loop, in a copy of the caller's contextvars; wait for it.

        Parameters:
            function: What to run.
            args: Its arguments.
            hint: The name of the awaitable way, for the error.

        Raises:
            BlockingCallError: This thread runs an event loop, which waiting would block.
        """
        self._refuse_loop_thread(hint)
        loop = self._borrowed or self._own_loop()
        result: Future[T] = Future()
        context = contextvars.copy_context()
        running: list[asyncio.Task[T]] = []

        def begin() -> None:
            running.append(loop.create_task(function(*args), context=context))
            running[0].add_done_callback(lambda task: _hand_over(task, result))

        loop.call_soon_threadsafe(begin)
        try:
            return result.result()
        except BaseException:
            if not result.done():  # the wait was interrupted (Ctrl-C): the coroutine is not wanted any more
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in running])
            raise

    def close(self) -> None:
        """Close the engine on the portal's own loop and end its thread; a later call starts anew."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(loop), loop)
        try:
            closing.result(_EXIT_TIMEOUT_S)
        finally:
            loop.call_soon_threadsafe(loop.stop)

    def _refuse_loop_thread(self, hint: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise BlockingCallError(
            f"a blocking call on a thread that runs an event loop would block the loop; await {hint} instead"
        )

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
                atexit.register(self._close_at_exit)
            return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_forever()
            finally:
                loop.close()

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return loop

    def _close_at_exit(self) -> None:
        with contextlib.suppress(Exception):  # the process ends; everything acknowledged is safe already
            self.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop = None
        self._borrowed = None


def _hand_over(task: asyncio.Task[T], result: Future[T]) -> None:
    if task.cancelled():
        result.cancel()
    elif (error := task.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())
