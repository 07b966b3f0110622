"""The broker: messages wait, run and end as rows of one file."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, ClassVar

from qtasks_core.contract import Capability, Delivery, Retry
from qtasks_core.errors import QTasksError, UnavailableError
from qtasks_sqlite import _workers
from qtasks_sqlite._adding import new_message
from qtasks_sqlite._claiming import Claim, ClaimCall, waiting
from qtasks_sqlite._finishing import Ending, Token, finish, finish_quick, new_ending, quick_rows
from qtasks_sqlite._items import encode_each
from qtasks_sqlite._liveness import hold_new, let_go
from qtasks_sqlite._operating import SqliteOperator
from qtasks_sqlite._reader import IDLE, URGENT
from qtasks_sqlite._rows import UNREADABLE, read_envelope, to_micros
from qtasks_sqlite._upkeep import Upkeep
from qtasks_sqlite._values import MOST_ROWS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Outcome, PerItem
    from qtasks_sqlite._claiming import Claimed, Taken
    from qtasks_sqlite._transaction import Effects, Transaction

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
        self._worker = self._lock = ""
        self._lost: Callable[[Sequence[Delivery]], None] | None = None
        self._held: dict[int, Delivery] = {}
        self._turns = itertools.count(1)
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
        self.wake()
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
        self.wake()

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
        while self._started:
            lease, wanted = self.lease, self._wanted(limit, per_queue)
            if lease is not None and wanted:
                claim = Claim(lease, next(self._turns), limit, wanted, to_micros(self._context.clock()))
                taken = await self._claim(claim)
                if self.lease != lease:
                    continue  # evicted meanwhile, and lost() is told: of what was on its way nobody has heard
                if taken is None:
                    await self.rejoin(lease)
                    continue
                if taken.text is not None:
                    return self._deliver(claim, taken)
            await self._wait()
        raise UnavailableError("the broker was stopped")

    def _wanted(self, limit: int, per_queue: Mapping[str, int] | None) -> list[tuple[int, int]]:
        if per_queue is None:
            return [(number, limit) for number in self._queues.values()]
        most = [(number, per_queue.get(name, limit)) for name, number in self._queues.items()]
        return [(number, count) for number, count in most if count > 0]

    async def _claim(self, wanted: Claim) -> Taken | None:
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

    def _deliver(self, claim: Claim, taken: Taken) -> list[Delivery]:
        deliveries = []
        for row in taken.messages():
            uuid, data = taken.others[row.id] if row.text == "-" else (None, bytes.fromhex(row.text))
            delivery = _to_delivery(row, claim, data, uuid)
            self._held[row.id] = delivery
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

    def wake(self) -> None:
        """Have who waits in receive() look again."""
        for future in self._idle:
            if not future.done():
                future.set_result(None)

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:  # noqa: ARG002
        """Look whether something can be claimed, on the reader's thread."""
        ready, due = waiting(connection, list(self._queues.values()), to_micros(self._context.clock()))
        if ready:
            self.interest = IDLE
            self._call(self.wake)
        return None if due is None else due / 1_000_000

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        if effects.evicted and self._upkeep is not None:  # perhaps this worker, whose lease may be on its way
            self._call(self._upkeep.hurry)
        if effects.ready and self._idle:
            self._call(self.wake)

    # ------------------------------------------------------------ settling

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups and verdicts; records are another storage's."""
        return await self._finish(batch, fused=False)

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups, records and verdicts, all of an item or nothing."""
        return await self._finish(batch, fused=True)

    async def _finish(self, batch: Sequence[Outcome], *, fused: bool) -> PerItem:
        now, ttl = self._context.clock(), self._context.config.result_ttl
        values, others = quick_rows(batch, now, ttl) if fused and len(batch) <= MOST_ROWS else ([], batch)
        if not values:
            return await self._finish_others(batch, now, fused=fused)
        if others:
            return await self._finish_mixed(batch, others, now)
        records = [outcome.record for outcome in batch if outcome.record is not None]
        ns = self._database.ns

        def run(transaction: Transaction) -> list[Exception | None]:
            if transaction.careful:
                endings = [new_ending(outcome, {}, now, ttl, (), fused=True) for outcome in batch]
                return finish(transaction, ns, endings, now)
            finish_quick(transaction, values, records)
            return [None] * len(batch)

        answers = await self._database.write(run)
        self._let_go(batch, answers)
        return answers

    async def _finish_mixed(self, batch: Sequence[Outcome], others: Sequence[Outcome], now: float) -> PerItem:
        """Finish the usual outcomes the quick way, the others beside them, in the same transaction."""
        other = set(map(id, others))
        usual = [outcome for outcome in batch if id(outcome) not in other]
        parts = await asyncio.gather(self._finish(usual, fused=True), self._finish_others(others, now, fused=True))
        first, second = map(iter, parts)
        return [next(second) if id(outcome) in other else next(first) for outcome in batch]

    async def _finish_others(self, batch: Sequence[Outcome], now: float, *, fused: bool) -> PerItem:
        queues = await self._numbers(_queues_of(batch))
        ttl, ns, most = self._context.config.result_ttl, self._database.ns, self.limits.message_bytes

        def encode(outcome: Outcome) -> Ending:
            sends = [new_message(record, envelope, queues, now, most) for record, envelope in outcome.sends]
            return new_ending(outcome, queues, now, ttl, sends, fused=fused)

        endings = encode_each(batch, encode)
        done = await self._in_parts(endings, lambda transaction, part: finish(transaction, ns, part, now))
        answers = endings.merge(done)
        self._let_go(batch, answers)
        return answers

    def _drop(self, token: object) -> None:
        """Hold a delivery no more; a later delivery of the same row is another one."""
        if isinstance(token, Token) and (held := self._held.get(token.id)) is not None and held.token == token:
            del self._held[token.id]

    def _let_go(self, batch: Sequence[Outcome], answers: PerItem) -> None:
        for outcome, answer in zip(batch, answers, strict=True):
            token = outcome.delivery.token
            if answer is None or not isinstance(answer, UnavailableError):
                self._drop(token)

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
            let_go(self._database.path, self._lock)
        await self.join()

    async def join(self, *, evicting: bool = False) -> None:
        """Register the worker, unless it is registered.

        Parameters:
            evicting: A life that goes on elsewhere under the same name ends as by a crash.
        """
        async with self._joining:
            if self.lease is None:
                self.lease = await self._register(evicting=evicting)
                self.wake()

    async def _register(self, *, evicting: bool) -> int:
        ns, name, path = self._database.ns, self._worker, self._database.path
        self._lock = lock = hold_new(path)  # first: nobody may see a registration without it
        try:
            return await self._database.write(
                lambda transaction: _workers.register(transaction, ns, name, lock, evicting=evicting)
            )
        except BaseException:
            let_go(path, lock)
            raise

    async def _leave(self) -> None:
        lease, self.lease = self.lease, None
        self._queues, self._held = {}, {}
        if lease is not None:
            try:
                await self._database.write(lambda transaction: _workers.leave(transaction, lease))
            finally:  # where it cannot say so, others find the lock free and take over what it held
                let_go(self._database.path, self._lock)


def _to_delivery(row: Claimed, claim: Claim, data: bytes, uuid: bytes | None) -> Delivery:
    """Decode a message; under another id than its row's it could never be settled, so it is as good as unreadable."""
    crashes = row.crashes
    try:
        envelope = read_envelope(data)
    except UNREADABLE:
        envelope = None
    if envelope is None or uuid not in {None, envelope.uuid.bytes}:
        return Delivery(None, Token(row.id, claim.lease, claim.turn, None), crashes, crashes > 0, data)
    token = Token(row.id, claim.lease, claim.turn, envelope.uuid.bytes)
    return Delivery(envelope, token, envelope.crashes + crashes, crashes > 0)


def _queues_of(batch: Sequence[Outcome]) -> list[str]:
    names = [envelope.queue for outcome in batch for _, envelope in outcome.sends]
    names += [outcome.verdict.envelope.queue for outcome in batch if isinstance(outcome.verdict, Retry)]
    return names
