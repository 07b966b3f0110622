"""The broker: messages wait, run and end as rows of one file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, ClassVar

import msgspec

from qtasks_core.contract import Capability, Delivery, Retry
from qtasks_core.errors import QTasksError, UnavailableError
from qtasks_sqlite import _workers
from qtasks_sqlite._adding import new_message
from qtasks_sqlite._claiming import Claim, ClaimCall, waiting
from qtasks_sqlite._finishing import Ending, Token, finish, new_ending
from qtasks_sqlite._items import encode_each
from qtasks_sqlite._liveness import let_go, lock_path
from qtasks_sqlite._operating import SqliteOperator
from qtasks_sqlite._reader import IDLE, URGENT
from qtasks_sqlite._rows import read_envelope, to_micros
from qtasks_sqlite._upkeep import Upkeep

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Outcome, PerItem
    from qtasks_sqlite._claiming import Claimed
    from qtasks_sqlite._transaction import Effects

__all__ = ["SqliteBroker"]

logger = logging.getLogger("qtasks.sqlite")


class SqliteBroker(SqliteOperator):
    """Move messages through one file, for several processes of one machine.

    Parameters:
        url: `sqlite:///relative.db` or `sqlite:////absolute/path.db`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or its folder is not there.
    """

    capabilities: ClassVar[Capability] = (
        Capability.RECEIVE | Capability.PRIORITY | Capability.UNIQUE | Capability.FENCED
    )

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.lease: int | None = None
        self._queues: dict[str, int] = {}
        self._worker = ""
        self._lost: Callable[[Sequence[Delivery]], None] | None = None
        self._held: dict[int, Delivery] = {}
        self._idle: set[asyncio.Future[None]] = set()
        self._upkeep: Upkeep | None = None

    async def on_start(self) -> None:
        """Begin as a client; subscribe() makes a worker of it."""
        self._joining = asyncio.Lock()

    async def on_stop(self) -> None:
        """Give back, uncharged, what is still held."""
        if self._upkeep is not None:
            await self._upkeep.stop()
            self._upkeep = None
        with contextlib.suppress(QTasksError):
            await self._leave()

    # ------------------------------------------------------------ receiving

    async def subscribe(
        self,
        queues: Sequence[str],
        worker: str,
        slots: int,  # noqa: ARG002  # receive() says how much may be taken
        lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        """Set what receive() reads, and register the worker; () pauses.

        Parameters:
            queues: Their names.
            worker: The worker's name.
            slots: How many tasks it runs at once.
            lost: Told, on this loop, which deliveries were taken over.
        """
        numbers = await self._database.queues(queues)
        self._worker, self._lost = worker, lost
        await self.join(evicting=True)
        self._queues = {name: numbers[name] for name in queues}
        if self._upkeep is None:
            self._upkeep = Upkeep(self._database, self, self._context.config.dead_letter_max)
        self._wake()

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit deliveries, the lowest priority number first, then the oldest.

        Parameters:
            limit: Most in all.
            per_queue: Most of a queue; one that is not named has no limit of its own.

        Raises:
            UnavailableError: Another process holds the file.
        """
        if limit < 1:
            raise ValueError(f"limit: expected 1 or more, got {limit}")
        if self._lost is None:
            raise RuntimeError("subscribe() comes before receive()")
        while True:
            lease, wanted = self.lease, self._wanted(limit, per_queue)
            if lease is not None and wanted:
                claimed = await self._claim(Claim(lease, limit, wanted, to_micros(self._context.clock())))
                if claimed:
                    return self._deliver(lease, claimed)
                if claimed is None:
                    await self.rejoin(lease)
                    continue
            await self._wait()

    def _wanted(self, limit: int, per_queue: Mapping[str, int] | None) -> list[tuple[int, int]]:
        if per_queue is None:
            return [(number, limit) for number in self._queues.values()]
        most = [(number, per_queue.get(name, limit)) for name, number in self._queues.items()]
        return [(number, count) for number, count in most if count > 0]

    async def _claim(self, wanted: Claim) -> list[Claimed] | None:
        call = ClaimCall(wanted)
        job = self._database.write(call.run, durable=False)
        try:
            return await job
        except asyncio.CancelledError:
            call.cancelled = True
            # Queued at once: an eviction that comes later must not charge what nobody has seen.
            with contextlib.suppress(UnavailableError):
                self._database.write(call.give_back, durable=False)
            raise

    def _deliver(self, lease: int, claimed: Sequence[Claimed]) -> list[Delivery]:
        deliveries = []
        for id_, turn, crashes, data in claimed:
            delivery = _to_delivery(id_, lease, turn, crashes, data)
            self._held[id_] = delivery
            deliveries.append(delivery)
        return deliveries

    async def _wait(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._idle.add(future)
        self.interest = URGENT if self._queues else IDLE
        self._database.poke()
        try:
            await future
        finally:
            self._idle.discard(future)
            if not self._idle:
                self.interest = IDLE

    def _wake(self) -> None:
        for future in self._idle:
            if not future.done():
                future.set_result(None)

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:  # noqa: ARG002
        """Look whether something can be claimed, on the reader's thread."""
        ready, due = waiting(connection, list(self._queues.values()), to_micros(self._context.clock()))
        if ready:
            self.interest = IDLE
            self._call(self._wake)
        return None if due is None else due / 1_000_000

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        if effects.evicted and self._upkeep is not None:  # perhaps this worker, whose lease may be on its way
            self._call(self._upkeep.hurry)
        if effects.ready and self._idle:
            self._call(self._wake)

    # ------------------------------------------------------------ settling

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups and verdicts; records are another storage's."""
        return await self._finish(batch, fused=False)

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups, records and verdicts, all of an item or nothing."""
        return await self._finish(batch, fused=True)

    async def _finish(self, batch: Sequence[Outcome], *, fused: bool) -> PerItem:
        queues = await self._numbers(_queues_of(batch))
        now, ttl, ns = self._context.clock(), self._context.config.result_ttl, self._database.ns

        def encode(outcome: Outcome) -> Ending:
            sends = [new_message(record, envelope, queues, now) for record, envelope in outcome.sends]
            return new_ending(outcome, queues, now, ttl, sends, fused=fused)

        endings = encode_each(batch, encode)
        answers = await self._in_parts(endings, lambda transaction, part: finish(transaction, ns, part, now))
        for ending, answer in zip(endings, answers, strict=True):
            held = self._held.get(ending.token.id)
            if held is not None and held.token == ending.token and not isinstance(answer, UnavailableError):
                del self._held[ending.token.id]  # an older handle of a message that was taken again leaves it held
        return endings.merge(answers)

    # ------------------------------------------------------------ registration

    async def rejoin(self, lease: int) -> None:
        """Register again, and say what is lost: the registration *lease* was taken away."""
        async with self._joining:
            if self.lease != lease:
                return
            lost, self._held = list(self._held.values()), {}
            logger.warning("worker %s was evicted; %d running task(s) are lost", self._worker, len(lost))
            if lost and self._lost is not None:
                self._lost(lost)
            self.lease = None
            let_go(lock_path(self._database.path, lease))
        await self.join()

    async def join(self, *, evicting: bool = False) -> None:
        """Register the worker, unless it is registered.

        Parameters:
            evicting: A life that goes on elsewhere under the same name ends as by a crash.
        """
        async with self._joining:
            if self.lease is None:
                ns, name = self._database.ns, self._worker
                self.lease = await self._database.write(
                    lambda transaction: _workers.register(transaction, ns, name, evicting=evicting)
                )
                self._wake()

    async def _leave(self) -> None:
        lease, self.lease = self.lease, None
        self._queues, self._held = {}, {}
        if lease is not None:
            await self._database.write(lambda transaction: _workers.leave(transaction, lease))
            let_go(lock_path(self._database.path, lease))


def _to_delivery(id_: int, lease: int, turn: int, crashes: int, data: bytes) -> Delivery:
    suspect = crashes > 0
    try:
        envelope = read_envelope(data)
    except (msgspec.MsgspecError, ValueError):
        return Delivery(None, Token(id_, lease, turn, None), crashes, suspect, data)
    return Delivery(envelope, Token(id_, lease, turn, envelope.uuid.bytes), envelope.crashes + crashes, suspect)


def _queues_of(batch: Sequence[Outcome]) -> list[str]:
    names = [envelope.queue for outcome in batch for _, envelope in outcome.sends]
    names += [outcome.verdict.envelope.queue for outcome in batch if isinstance(outcome.verdict, Retry)]
    return names
