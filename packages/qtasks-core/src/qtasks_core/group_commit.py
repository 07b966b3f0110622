"""Group commit: what arrives while a write is in flight goes into the next one.

Nothing waits on a timer, so an idle system has the lowest latency and a busy one the largest batches.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from qtasks_core.errors import RefusedError, SendRefusedError, SendUnknownError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import PerItem

__all__ = ["Backoff", "BufferLimits", "GroupCommit"]

logger = logging.getLogger("qtasks.engine")

T = TypeVar("T")


class BufferLimits(NamedTuple):
    """How much one write carries and how much may wait for it."""

    flush_items: int
    flush_bytes: int
    buffer_items: int
    buffer_bytes: int
    write_timeout_s: float


class Backoff:
    """Growing waits with full jitter: 50 ms at first, doubling up to *longest_s*."""

    def __init__(self, longest_s: float = 5.0) -> None:
        self._longest = longest_s
        self._next = 0.05

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._next = 0.05

    async def wait(self) -> None:
        """Sleep for the next wait."""
        wait_s, self._next = self._next, min(self._next * 2, self._longest)
        await asyncio.sleep(wait_s * (0.5 + random.random() / 2))  # noqa: S311  # jitter is no secret


class _Entry(Generic[T]):
    __slots__ = ("deadline", "done", "dropped", "item", "size", "unknown")

    def __init__(self, item: T, size: int, done: Callable[[Exception | None], None], deadline: float | None) -> None:
        self.item = item
        self.size = size
        self.done = done
        self.deadline = deadline
        self.unknown = False
        self.dropped = False


class GroupCommit(Generic[T]):
    """Collects items and writes them in batches, one write at a time; answers each item by itself.

    Parameters:
        write: Takes a batch and answers one error or None per item (contract.py).
        limits: Bounds of a write and of the buffer.
        name: What is written, for the log.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[PerItem]], limits: BufferLimits, name: str) -> None:
        self._write = write
        self._limits = limits
        self._name = name
        self._pending: deque[_Entry[T]] = deque()
        self._bytes = 0
        self._flusher: asyncio.Task[None] | None = None
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._pending)

    async def submit(self, item: T, size: int, timeout_s: float) -> None:
        """Write one item; return when it is safe.

        A caller that is cancelled takes its item back when no write holds it yet; it never cancels the write.

        Parameters:
            item: What to write.
            size: Its bytes, for the bounds.
            timeout_s: Seconds to wait for room and for the server.

        Raises:
            SendRefusedError: Not written within *timeout_s*, or refused.
            SendUnknownError: Perhaps written.
            Exception: What the component answered for this item.
        """
        deadline = self._loop.time() + timeout_s
        if self._is_full():
            await self._wait_for_room(deadline)
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

        entry = self.put(item, size, done, deadline)
        try:
            await future
        except asyncio.CancelledError:
            entry.dropped = True
            raise

    async def submit_many(self, items: Sequence[tuple[T, int]], timeout_s: float) -> list[Exception | None]:
        """Write many items, in as few writes as the bounds allow; return one error or None for each.

        Parameters:
            items: Pairs of what to write and its bytes.
            timeout_s: Seconds that each waits for room and for the server.
        """
        answers: list[Exception | None] = [None] * len(items)
        left = len(items)
        finished: asyncio.Future[None] = self._loop.create_future()

        def answered(index: int, error: Exception | None) -> None:
            nonlocal left
            answers[index] = error
            left -= 1
            if not left and not finished.done():
                finished.set_result(None)

        for index, (item, size) in enumerate(items):
            deadline = self._loop.time() + timeout_s
            try:
                if self._is_full():
                    await self._wait_for_room(deadline)
            except SendRefusedError as error:
                answered(index, error)
            else:
                self.put(item, size, partial(answered, index), deadline)
        if left:
            await finished
        return answers

    def put(
        self, item: T, size: int, done: Callable[[Exception | None], None], deadline: float | None = None
    ) -> _Entry[T]:
        """Write one item and call *done* with its answer; without a deadline it is repeated until it is answered."""
        entry = _Entry(item, size, done, deadline)
        self._pending.append(entry)
        self._bytes += size
        if self._flusher is None:
            self._flusher = self._loop.create_task(self._flush(), name=f"qtasks flush {self._name}")
        return entry

    async def drain(self) -> None:
        """Wait until everything that was put is answered."""
        while (flusher := self._flusher) is not None:
            await asyncio.wait([flusher])

    async def close(self) -> None:
        """Stop writing; what is left is answered as perhaps written."""
        if (flusher := self._flusher) is not None:
            flusher.cancel()
            await asyncio.wait([flusher])
        self._fail_rest()

    def _is_full(self) -> bool:
        return len(self._pending) >= self._limits.buffer_items or self._bytes >= self._limits.buffer_bytes

    async def _wait_for_room(self, deadline: float) -> None:
        while self._is_full():
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_room.append(future)
            try:
                async with asyncio.timeout_at(deadline):
                    await future
            except TimeoutError:
                raise SendRefusedError(
                    f"the buffer of {self._name} was full (buffer_items {self._limits.buffer_items}, buffer_bytes "
                    f"{self._limits.buffer_bytes}) for the whole send_timeout: the server is away or too slow"
                ) from None

    async def _flush(self) -> None:
        backoff = Backoff()
        try:
            while self._pending:
                batch = self._next_batch()
                if not batch:
                    continue
                again = self._answer(batch, await self._write_all(batch))
                if again:
                    self._put_back(again)
                    await backoff.wait()
                else:
                    backoff.reset()
        finally:
            self._flusher = None

    def _next_batch(self) -> list[_Entry[T]]:
        batch: list[_Entry[T]] = []
        size = 0
        pending, limits = self._pending, self._limits
        while pending and len(batch) < limits.flush_items:
            if batch and size + pending[0].size > limits.flush_bytes:
                break
            entry = pending.popleft()
            self._bytes -= entry.size
            if not entry.dropped:
                size += entry.size
                batch.append(entry)
        if self._waiting_for_room:
            self._let_in(limits.buffer_items - len(pending))
        return batch

    def _let_in(self, count: int) -> None:
        while count > 0 and self._waiting_for_room:
            future = self._waiting_for_room.popleft()
            if not future.done():
                future.set_result(None)
                count -= 1

    async def _write_all(self, batch: list[_Entry[T]]) -> PerItem:
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                answers = await self._write([entry.item for entry in batch])
        except (UnavailableError, SendUnknownError) as error:
            return [error] * len(batch)
        except TimeoutError:
            return [SendUnknownError(f"no answer within {self._limits.write_timeout_s:g} s")] * len(batch)
        except asyncio.CancelledError:
            for entry in batch:
                entry.unknown = True
            self._put_back(batch)
            raise
        except Exception as error:  # noqa: BLE001  # whatever a component raises, its items are answered one by one
            return await self._isolate(batch, error)
        if len(answers) != len(batch):
            logger.error("%s: %d answers for %d items: a fault of the component", self._name, len(answers), len(batch))
            return [SendUnknownError("the component lost count of its answers")] * len(batch)
        return answers

    async def _isolate(self, batch: list[_Entry[T]], error: Exception) -> PerItem:
        """One bad item must not fail its batch mates: after an unforeseen error write them one by one."""
        if len(batch) == 1:
            logger.error("%s: the component failed: %r", self._name, error, exc_info=error)
            return [error]
        return [(await self._write_all([entry]))[0] for entry in batch]

    def _answer(self, batch: list[_Entry[T]], answers: PerItem) -> list[_Entry[T]]:
        again: list[_Entry[T]] = []
        now = self._loop.time()
        for entry, answer in zip(batch, answers, strict=True):
            if answer is None:
                entry.done(None)
            elif isinstance(answer, (UnavailableError, SendUnknownError)):
                entry.unknown = entry.unknown or isinstance(answer, SendUnknownError)
                if entry.deadline is None or now < entry.deadline:
                    again.append(entry)
                else:
                    entry.done(_give_up(entry, answer))
            elif isinstance(answer, RefusedError):
                entry.done(SendRefusedError(str(answer)))
            else:
                entry.done(answer)
        return again

    def _put_back(self, entries: list[_Entry[T]]) -> None:
        self._pending.extendleft(reversed(entries))
        self._bytes += sum(entry.size for entry in entries)

    def _fail_rest(self) -> None:
        rest, self._pending, self._bytes = self._pending, deque(), 0
        for entry in rest:
            entry.done(_give_up(entry, SendRefusedError("the app was stopped")))
        for future in self._waiting_for_room:
            if not future.done():
                future.set_exception(SendRefusedError("the app was stopped"))


def _give_up(entry: _Entry[T], last: Exception) -> Exception:
    if entry.unknown:
        return SendUnknownError(f"it may be queued; last answer: {last}")
    return SendRefusedError(f"not queued: {last}")
