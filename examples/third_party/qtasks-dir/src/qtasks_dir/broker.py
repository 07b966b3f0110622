"""The broker: messages wait, run and end as files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Limits
from qtasks_core.errors import FencedError
from qtasks_dir._files import Pauses, off_loop, reachable
from qtasks_dir._lease import Lease
from qtasks_dir._operating import Operator
from qtasks_dir._queues import LeaseLostError, Queues
from qtasks_dir._space import Space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Delivery, Depth, Envelope, Outcome, PerItem

__all__ = ["DirBroker"]

_NO_LIMITS: Mapping[str, int] = {}


class DirBroker:
    """Move messages through a directory, for several processes of one machine.

    Parameters:
        url: `dir:////absolute/path` or `dir:///relative/path`, perhaps with `?sync=none`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or the directory's parent is not there.
    """

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability.RECEIVE | Capability.PRIORITY | Capability.FENCED

    def __init__(self, url: str, context: ComponentContext) -> None:
        self._queues = Queues(Space.shared(url, context), context.config)
        self._operator = Operator(self._queues)
        self._ttl_s = context.config.lease_ttl
        self.limits = Limits(context.config.max_message_bytes, context.config.flush_items)
        self._read: Sequence[str] = ()
        self._worker = ""
        self._lost: Callable[[Sequence[Delivery]], None] | None = None
        self._lease: Lease | None = None
        self._pid = 0
        self._held: dict[object, Delivery] = {}

    async def start(self) -> None:
        """Make the folders that are missing."""
        await off_loop(self._queues.section.open)

    async def stop(self) -> None:
        """Give back, uncharged, what is still held."""
        lease, self._lease, self._lost = self._lease, None, None
        self._held.clear()
        if lease is not None and self._pid == os.getpid():  # a forked child has nothing of its parent's to give back
            await off_loop(lease.end)

    async def clear(self) -> None:
        """Delete all messages and dead letters; what is held is lost."""
        await off_loop(self._queues.section.clear)

    # ---------------------------------------------------------------- sending

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Take in messages."""
        return await off_loop(lambda: self._queues.send(batch))

    # ---------------------------------------------------------------- receiving

    async def subscribe(
        self,
        queues: Sequence[str],
        worker: str,
        slots: int,  # noqa: ARG002  # receive() is told how many are free
        lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        """Set what receive() reads. A life that goes on elsewhere under the name of *worker* ends as by a crash."""
        if self._lease is not None and (self._worker != worker or self._pid != os.getpid()):
            await self.stop()
        self._read, self._worker, self._lost = tuple(queues), worker, lost
        with reachable():
            if self._lease is None:
                self._queues.evict(worker)
            self._join()

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit messages. Taking one is a rename, done without a pause: a cancelled call has taken none."""
        if limit < 1:
            raise ValueError(f"limit: expected 1 or more, got {limit}")
        pauses = Pauses()
        while True:
            with reachable():
                got = self._claim(limit, _NO_LIMITS if per_queue is None else per_queue)
            if got:
                return got
            await pauses.wait()

    def _claim(self, limit: int, per_queue: Mapping[str, int]) -> Sequence[Delivery]:
        lease = self._join()
        try:
            got = self._queues.claim(lease.name, self._read, limit, per_queue)
        except LeaseLostError:
            self._tell_lost(lease)
            return ()
        self._held.update((delivery.token, delivery) for delivery in got)
        return got

    def _join(self) -> Lease:
        """Return the worker's lease; one that lost it begins a new life, and leaves another of its name alone."""
        if self._lost is None:
            raise RuntimeError("subscribe() comes before receive()")
        if self._lease is None:
            loop = asyncio.get_running_loop()

            def lost(lease: Lease) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                    loop.call_soon_threadsafe(self._tell_lost, lease)

            self._lease = Lease(self._queues, self._worker, self._ttl_s, lost)
            self._pid = os.getpid()
        return self._lease

    def _tell_lost(self, lease: Lease) -> None:
        if self._lease is lease:
            self._lease = None
        gone = [delivery for token, delivery in self._held.items() if str(token).startswith(f"{lease.name}/")]
        for delivery in gone:
            del self._held[delivery.token]
        if gone and self._lost is not None:
            self._lost(gone)

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups and verdicts; the records of *batch* are written elsewhere."""
        answers = await off_loop(lambda: self._queues.settle(batch))
        for outcome, answer in zip(batch, answers, strict=True):
            if answer is None or isinstance(answer, FencedError):
                self._held.pop(outcome.delivery.token, None)
        return answers

    async def evict(self, worker: str) -> int:
        """Take over what *worker* holds, as if it had died; return how much that was."""
        with reachable():
            return self._queues.evict(worker)

    # ---------------------------------------------------------------- looking and mending

    async def depth(self, queue: str) -> Depth:
        """Count the messages of *queue*."""
        with reachable():
            return self._queues.depth(queue)

    async def peek(
        self,
        queue: str,
        dead: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
        after: str = "",
    ) -> AsyncIterator[tuple[str, Envelope, str]]:
        """Yield (cursor, envelope, reason) of what waits, in the order of taking, or of what is dead, oldest first."""
        with reachable():
            cursors = self._operator.cursors(queue, is_dead=dead)
        for cursor in cursors:
            if cursor > after and (shown := self._operator.show(queue, cursor)) is not None:
                yield cursor, *shown

    async def replay(
        self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None = None
    ) -> int:
        """Send dead letters again, as *rewrite* makes them."""
        with reachable():
            return self._operator.replay(queue, rewrite, cursors)

    async def purge(
        self,
        queue: str,
        dead: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
        cursors: Sequence[str] | None = None,
    ) -> int:
        """Delete what waits, or what is dead."""
        with reachable():
            return self._operator.purge(queue, cursors, is_dead=dead)
