"""Generator tasks: each value goes through the handler, into the stream, and back into the generator."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

from qtasks_core.contract import Event
from qtasks_core.errors import TaskCancelError
from qtasks_core.wire import pack_value

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from types import TracebackType

    from qtasks_core.contract import Serializer
    from qtasks_core.group_commit import GroupCommit
    from qtasks_core.worker.execution import TaskExecution

__all__ = ["Sink", "Yields", "run_async_generator", "run_generator"]

_WINDOW = 512
_OVERHEAD = 64


class Sink(Protocol):
    """Where a generator's handled values go."""

    async def put(self, value: object) -> None:
        """Take a value; waits while too many are on their way."""
        ...

    def put_from_thread(self, value: object) -> None:
        """Take a value from the generator's own thread; blocks while too many are on their way."""
        ...

    def wait_for(self, handled: Awaitable[Any]) -> Any:
        """Return what an async handler returns."""
        ...

    def result(self, returned: object) -> Any:
        """Return the task's result, by what the generator returned."""
        ...


class Yields:
    """The values that one run has yielded: numbered, written in batches, and the first of them kept for the result.

    `async with` it waits until all is written, however the run ends: the record, which ends the stream, comes after it.

    Parameters:
        execution: The run.
        writer: Writes events to the storage.
        serializer: For values.
        most: Values that the result holds.
    """

    def __init__(self, execution: TaskExecution, writer: GroupCommit[Event], serializer: Serializer, most: int) -> None:
        self.kept: list[Any] = []
        self._execution = execution
        self._writer = writer
        self._serializer = serializer
        self._most = most
        self._count = 0
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(_WINDOW)
        self._unwritten = 0
        self._written = asyncio.Event()
        self._is_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True  # a thread that nobody waits for yields no more
        await self._flush()
        if error is None:
            self._raise_error()

    async def put(self, value: object) -> None:
        """Keep a value; waits while too many are not written yet."""
        event = self._event(value)
        while not self._room.acquire(blocking=False):
            self._written.clear()
            await self._written.wait()
        self._raise_error()
        self._write(event)

    def put_from_thread(self, value: object) -> None:
        """Keep a value, from the generator's own thread; blocks while too many are not written yet."""
        event = self._event(value)
        self._room.acquire()
        self._raise_error()
        if self._is_over:
            raise TaskCancelError("its run is over")
        self._loop.call_soon_threadsafe(self._write, event)

    def wait_for(self, handled: Awaitable[Any]) -> Any:
        """Run what an async handler made on the loop, and wait for it in the generator's thread."""

        async def wait() -> Any:
            return await handled

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result()

    def result(self, returned: object) -> Any:
        """Return the generator's own value when it has one, else the values that were kept."""
        if returned is not None:
            return returned
        self._execution.is_truncated = self._count > self._most
        return self.kept

    async def _flush(self) -> None:
        await asyncio.sleep(0)  # what a thread has put is counted on the loop
        while self._unwritten:
            self._written.clear()
            await self._written.wait()

    def _event(self, value: object) -> Event:
        if len(self.kept) < self._most:
            self.kept.append(value)
        self._count += 1
        one, serializer = self._execution, self._serializer
        stored = pack_value(serializer.codec, serializer.encode(value))
        return Event(one.uuid, one.run_id, next(one.seq), "yield", stored)

    def _write(self, event: Event) -> None:
        self._unwritten += 1
        self._writer.put(event, _OVERHEAD + len(event.value), self._answered)

    def _answered(self, error: Exception | None) -> None:
        self._unwritten -= 1
        self._error = self._error or error
        self._room.release()
        self._written.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


async def run_async_generator(
    generator: AsyncGenerator[Any, Any], handler: Callable[[Any], Any] | None, yields: Sink
) -> Any:
    """Drive an async generator to its end; return the task's result."""
    sent: Any = None
    try:
        while True:
            try:
                value = await generator.asend(sent)
            except StopAsyncIteration:
                break
            if handler is not None:
                value = handler(value)
                sent = value = await value if inspect.isawaitable(value) else value
            await yields.put(value)
    finally:
        await generator.aclose()
    return yields.result(None)


def run_generator(
    generator: Generator[Any, Any, Any],
    handler: Callable[[Any], Any] | None,
    yields: Sink,
    is_stopped: Callable[[], bool],
) -> Any:
    """Drive a generator to its end, in its thread; return what it returned.

    Parameters:
        generator: The task's.
        handler: Gets each value; an async one runs on the loop.
        yields: Where values go.
        is_stopped: Asked between two steps.

    Raises:
        TaskCancelError: Somebody asked for the end of the run.
    """
    sent: Any = None
    try:
        while True:
            try:
                value = generator.send(sent)
            except StopIteration as end:
                return end.value
            if is_stopped():
                raise TaskCancelError("cancelled between two values")
            if handler is not None:
                value = handler(value)
                value = yields.wait_for(value) if inspect.isawaitable(value) else value
                sent = value if _can_be_sent_to(generator) else None
            yields.put_from_thread(value)
    finally:
        generator.close()


def _can_be_sent_to(generator: Any) -> bool:
    """Whether what it stands at takes a value: a `yield` does, a `yield from` of a plain iterable does not."""
    while (inner := getattr(generator, "gi_yieldfrom", None)) is not None:
        generator = inner
    return hasattr(generator, "send")
