"""The way from blocking code to the engine: an event loop in a daemon thread, or the worker's own loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import logging
import threading
from concurrent.futures import CancelledError, Future
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qtasks_core.errors import BlockingCallError
from qtasks_core.forks import after_fork, keep_for_ever
from qtasks_core.loops import close_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator

__all__ = ["Portal", "blocking_iterator"]

logger = logging.getLogger("qtasks.engine")

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
        self._closes_at_exit = False
        after_fork(self, Portal._forget)

    def lend(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Use a worker's running loop instead of an own one; None ends that."""
        with self._lock:
            self._borrowed = loop

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, hint: str = "app.aio") -> T:
        """Run a coroutine function on the loop, in a copy of the caller's contextvars; wait for it.

        Parameters:
            function: What to run.
            args: Its arguments.
            hint: The name of the awaitable way, for the error.

        Raises:
            BlockingCallError: This thread runs an event loop, which waiting would block.
            concurrent.futures.CancelledError: The app was stopped meanwhile.
        """
        self._refuse_loop_thread(hint)
        call = _Call(function, args)
        loop: asyncio.AbstractEventLoop | None = None
        try:
            with self._lock:  # what is scheduled under it begins before a later close, which then cancels it
                loop = self._borrowed or self._own_loop()
                loop.call_soon_threadsafe(call.begin, loop)
            return call.result.result()
        except CancelledError:
            raise CancelledError("the app was stopped while this call waited") from None
        except BaseException:
            if loop is not None and not call.result.done():  # Ctrl-C: the coroutine is not wanted any more
                with contextlib.suppress(RuntimeError):  # its loop has been closed meanwhile
                    loop.call_soon_threadsafe(call.cancel)
            raise

    def close(self, beyond_s: float = 0.0) -> None:
        """Close the engine on the portal's own loop, cancel what still waits on it; a later call starts anew.

        Parameters:
            beyond_s: Seconds that it may take beyond those that closed connections take.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            if self._closes_at_exit:  # else the app would live as long as the process
                self._closes_at_exit = False
                atexit.unregister(self._close_at_exit)
        if loop is None or loop.is_closed():
            return
        timeout_s = _EXIT_TIMEOUT_S + beyond_s
        closing = asyncio.run_coroutine_threadsafe(self._close(loop), loop)
        try:
            closing.result(timeout_s)
        except TimeoutError:
            logger.warning("the connections were not closed within %g s: a server is away or hangs", timeout_s)
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
        if self._loop is None:
            self._loop = self._start()
            if not self._closes_at_exit:
                self._closes_at_exit = True
                atexit.register(self._close_at_exit)
        return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_forever()
            finally:
                close_loop(loop)

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return loop

    def _close_at_exit(self) -> None:
        with contextlib.suppress(Exception):  # the process ends; everything acknowledged is safe already
            self.close()

    def _forget(self) -> None:
        keep_for_ever((self._loop, self._borrowed))
        self._lock = threading.Lock()
        self._loop = None
        self._borrowed = None


def blocking_iterator(portal: Portal, values: AsyncGenerator[T, None], hint: str) -> Iterator[T]:
    """Yield what an asynchronous generator yields; each step crosses the portal.

    Parameters:
        portal: To the loop that it runs on.
        values: The generator.
        hint: The name of the awaitable way, for the error on a loop's thread.
    """

    async def step() -> T | _End:
        try:
            return await anext(values)
        except StopAsyncIteration:
            return _End.END

    try:
        while (value := portal.call(step, hint=hint)) is not _End.END:
            yield value
    finally:
        portal.call(values.aclose, hint=hint)


class _End(Enum):
    END = 0


class _Call(Generic[T]):
    """One coroutine on a loop, seen from the thread that waits for it."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]) -> None:
        self.result: Future[T] = Future()
        self._function = function
        self._args = args
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._task = loop.create_task(self._function(*self._args), context=self._context)
        except Exception as error:  # noqa: BLE001  # it is the caller's
            self.result.set_exception(error)
        else:
            self._task.add_done_callback(self._hand_over)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _hand_over(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.result.cancel()
        elif (error := task.exception()) is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(task.result())
