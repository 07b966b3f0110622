"""Group commit: what arrives while a write is in flight goes into the next one.

Nothing waits on a timer, so an idle system has the lowest latency and a busy one the largest batches.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from msgspec import Struct

from qtasks_core.errors import ItemError, RefusedError, SendRefusedError, SendUnknownError, UnavailableError
from qtasks_core.room import Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

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


class _Entry(Struct, Generic[T], eq=False):
    item: T
    size: int
    done: Callable[[Exception | None], None]
    deadline: float | None
    last: Exception | None = None
    unknown: bool = False
    dropped: bool = False


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
        self._room = Room(limits.buffer_items, limits.buffer_bytes)
        self._flusher: asyncio.Task[None] | None = None
        self._is_closed = False
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
        if not self._room.try_take(size):
            await self._wait_for_room(size, deadline)
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

        entry = _Entry(item, size, done, deadline)
        self._enter(entry)
        try:
            await future
        except asyncio.CancelledError:
            entry.dropped = True
            raise

    async def submit_many(self, items: Sequence[tuple[T, int]], timeout_s: float) -> list[Exception | None]:
        """Write many items, in as few writes as the bounds allow; return one error or None for each.

        A caller that is cancelled takes back what no write holds yet, as with `submit`.

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

        entries: list[_Entry[T]] = []
        try:
            for index, (item, size) in enumerate(items):
                deadline = self._loop.time() + timeout_s
                entry = _Entry(item, size, partial(answered, index), deadline)
                if self._room.try_take(size) or await self._finds_room(entry, deadline):
                    entries.append(entry)
                    self._enter(entry)
            if left:
                await finished
        except asyncio.CancelledError:
            for entry in entries:
                entry.dropped = True
            raise
        return answers

    def put(self, item: T, size: int, done: Callable[[Exception | None], None]) -> None:
        """Write one item and call *done* with its answer; it is repeated until it is answered, full or not."""
        self._room.take(size)
        self._enter(_Entry(item, size, done, None))

    async def drain(self) -> None:
        """Wait until everything that was put is answered."""
        while (flusher := self._flusher) is not None:
            await asyncio.wait([flusher])

    async def close(self) -> None:
        """Stop writing: what a write held is answered as perhaps written, the rest, and what comes later, as not."""
        self._is_closed = True
        if (flusher := self._flusher) is not None:
            flusher.cancel()
            await asyncio.wait([flusher])
            self._flusher = None  # one that never ran could not say so
        error = SendRefusedError("the app was stopped")
        self._room.close(error)
        rest, self._pending = self._pending, deque()
        for entry in rest:
            entry.done(_give_up(entry, error))

    async def _wait_for_room(self, size: int, deadline: float) -> None:
        try:
            await self._room.wait(size, deadline)
        except TimeoutError:
            raise SendRefusedError(
                f"the buffer of {self._name} was full (buffer_items {self._limits.buffer_items}, buffer_bytes "
                f"{self._limits.buffer_bytes}) for the whole send_timeout: the server is away or too slow"
            ) from None

    async def _finds_room(self, entry: _Entry[T], deadline: float) -> bool:
        try:
            await self._wait_for_room(entry.size, deadline)
        except SendRefusedError as error:
            entry.done(error)
            return False
        return True

    def _enter(self, entry: _Entry[T]) -> None:
        if self._is_closed:
            entry.done(SendRefusedError("not queued: the app was stopped"))
            return
        self._pending.append(entry)
        if self._flusher is None:
            self._flusher = self._loop.create_task(self._flush(), name=f"qtasks flush {self._name}")

    async def _flush(self) -> None:
        backoff = Backoff()
        is_away = False
        batch: list[_Entry[T]] = []
        try:
            while self._pending:
                batch = self._next_batch()
                if not batch:
                    continue
                again = self._answer(batch, await self._write_all(batch))
                batch = []
                if again:
                    if not is_away:
                        logger.warning("%s cannot be written: %s; trying again", self._name, again[0].last)
                    is_away = True
                    self._put_back(again)
                    self._give_up_late(again[0].last)
                    if self._pending:
                        await backoff.wait()
                else:
                    backoff.reset()
                    is_away = False
        except asyncio.CancelledError:
            for entry in batch:
                entry.unknown = True
            self._put_back(batch)
            raise
        finally:
            self._flusher = None

    def _next_batch(self) -> list[_Entry[T]]:
        batch: list[_Entry[T]] = []
        size = items = freed = 0
        pending, limits = self._pending, self._limits
        while pending and len(batch) < limits.flush_items:
            if batch and size + pending[0].size > limits.flush_bytes:
                break
            entry = pending.popleft()
            items += 1
            freed += entry.size
            if not entry.dropped:
                size += entry.size
                batch.append(entry)
        self._room.leave(items, freed)
        return batch

    async def _write_all(self, batch: list[_Entry[T]]) -> PerItem:
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                answers = await self._write([entry.item for entry in batch])
        except (UnavailableError, SendUnknownError) as error:
            return [error] * len(batch)
        except TimeoutError:
            return [SendUnknownError(f"no answer within {self._limits.write_timeout_s:g} s")] * len(batch)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            return [SendUnknownError("the component gave its own write up")] * len(batch)
        except Exception as error:  # noqa: BLE001  # whatever a component raises, its items are answered one by one
            return await self._isolate(batch, error)
        if (count := _count(answers)) != len(batch):
            logger.error("%s: %d answers for %d items: a fault of the component", self._name, count, len(batch))
            return [SendUnknownError("the component lost count of its answers")] * len(batch)
        return answers

    async def _isolate(self, batch: list[_Entry[T]], error: Exception) -> PerItem:
        """One bad item must not fail its batch mates: after an unforeseen error write them one by one."""
        if len(batch) == 1:
            if not isinstance(error, ItemError):
                logger.error("%s: the component failed: %r", self._name, error, exc_info=error)
            return [error]
        return [(await self._write_all([entry]))[0] for entry in batch]

    def _answer(self, batch: list[_Entry[T]], answers: PerItem) -> list[_Entry[T]]:
        """Hand the answers on; return the entries whose server is away."""
        again: list[_Entry[T]] = []
        for entry, answer in zip(batch, answers, strict=True):
            if answer is None:
                entry.done(None)
            elif isinstance(answer, (UnavailableError, SendUnknownError)):
                entry.unknown = entry.unknown or isinstance(answer, SendUnknownError)
                entry.last = answer
                again.append(entry)
            elif isinstance(answer, RefusedError):
                may_be_there = entry.unknown and entry.deadline is not None
                entry.done(_give_up(entry, answer) if may_be_there else SendRefusedError(str(answer)))
            else:
                entry.done(answer)
        return again

    def _put_back(self, entries: list[_Entry[T]]) -> None:
        for entry in entries:
            self._room.take(entry.size)
        self._pending.extendleft(reversed(entries))

    def _give_up_late(self, last: Exception | None) -> None:
        """Answer everything whose time is over, also what waits behind: a server that hangs must not hold it longer."""
        now = self._loop.time()
        pending, self._pending = self._pending, deque()
        for entry in pending:
            if entry.deadline is None or now < entry.deadline:
                self._pending.append(entry)
            else:
                self._room.leave(1, entry.size)
                entry.done(_give_up(entry, entry.last or last))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _count(answers: object) -> int:
    return len(answers) if isinstance(answers, Sized) else 0


def _give_up(entry: _Entry[T], last: Exception | None) -> Exception:
    if entry.unknown:
        return SendUnknownError(f"it may be queued; last answer: {last}")
    return SendRefusedError(f"not queued: {last}")
