"""The broker: messages wait, run and end as rows of one file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, ClassVar

import msgspec

from qtasks_core.contract import Capability, Delivery, Limits, Retry
from qtasks_core.errors import QTasksError, UnavailableError
from qtasks_sqlite import _workers
from qtasks_sqlite._adding import MESSAGE_BYTES, NewTask, add, new_message
from qtasks_sqlite._claiming import Claim, claim, waiting
from qtasks_sqlite._component import SqliteComponent
from qtasks_sqlite._database import log_once
from qtasks_sqlite._depth import depth_of
from qtasks_sqlite._finishing import Ending, Token, finish, give_back, new_ending
from qtasks_sqlite._items import encode_each
from qtasks_sqlite._liveness import let_go, lock_path
from qtasks_sqlite._reader import IDLE, URGENT
from qtasks_sqlite._rows import read_envelope, to_micros
from qtasks_sqlite._upkeep import Upkeep
from qtasks_sqlite._values import MOST_ROWS
from qtasks_sqlite.storage import SqliteStorage, clear_tasks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Depth, Envelope, Outcome, PerItem, Results, TaskRecord
    from qtasks_sqlite._claiming import Claimed
    from qtasks_sqlite._transaction import Effects, Transaction

__all__ = ["SqliteBroker"]

logger = logging.getLogger("qtasks.sqlite")


class SqliteBroker(SqliteComponent):
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
        self.limits = Limits(message_bytes=MESSAGE_BYTES, batch=MOST_ROWS)
        self.lease: int | None = None
        self._queues: dict[str, int] = {}
        self._worker = ""
        self._lost: Callable[[Sequence[Delivery]], None] | None = None
        self._held: dict[int, Delivery] = {}
        self._idle: set[asyncio.Future[None]] = set()
        self._upkeep: Upkeep | None = None
        self._checked = False

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

    async def clear(self) -> None:
        """Delete all tasks of this namespace."""
        ns = self._database.ns
        await self._database.write(lambda transaction: clear_tasks(transaction, ns))

    # ------------------------------------------------------------ sending

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Return when each message is on disk, or refused."""
        return await self._add([(None, envelope) for envelope in batch])

    def fuses(self, storage: Results) -> bool:
        """Tell whether that storage is in the same file."""
        return isinstance(storage, SqliteStorage) and storage.shares(self._database)

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        """Insert records and messages, both of an item in one row."""
        return await self._add(batch)

    async def _add(self, batch: Sequence[tuple[TaskRecord | None, Envelope]]) -> PerItem:
        queues = await self._numbers([envelope.queue for _, envelope in batch])
        now = self._context.clock()
        rows = encode_each(batch, lambda item: new_message(item[0], item[1], queues, now))
        answers: list[Exception | None] = []
        ns = self._database.ns
        jobs = [
            self._database.write(lambda transaction, part=part: add(transaction, ns, part, now))  # type: ignore[misc]
            for part in _parts(rows)
        ]
        for job in jobs:
            answers += await job
        if not self._checked:
            await self._warn_without_worker()
        return rows.merge(answers)

    async def _numbers(self, names: Sequence[str]) -> Mapping[str, int]:
        try:
            return await self._database.queues(names)
        except QTasksError as error:
            if isinstance(error, UnavailableError):
                raise
            return await self._database.queues(())  # one name is bad: its item finds no number

    async def _warn_without_worker(self) -> None:
        self._checked = True
        ns = self._database.ns
        statement = "SELECT worker_seen FROM namespaces WHERE id = ?"
        seen = await self._database.read(lambda connection: connection.execute(statement, (ns,)).fetchone()[0])
        if not seen:
            log_once(
                self._database.path,
                "no worker",
                logging.WARNING,
                "no worker has ever opened %s: a worker started in another folder uses another file",
            )

    # ------------------------------------------------------------ receiving

    async def subscribe(
        self,
        queues: Sequence[str],
        worker: str,
        slots: int,
        lost: Callable[[Sequence[Delivery]], None],  # noqa: ARG002
    ) -> None:
        """Set what receive() reads, and register the worker; () pauses.

        Parameters:
            queues: Their names.
            worker: The worker's name.
            slots: Not needed here: receive() says how much may be taken.
            lost: Told, on this loop, which deliveries were taken over.
        """
        numbers = await self._database.queues(queues)
        self._worker, self._lost = worker, lost
        await self.join()
        self._queues = {name: numbers[name] for name in queues}
        if self._upkeep is None:
            self._upkeep = Upkeep(self._database, self, self._context.config.dead_letter_max)
        self._wake()

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit deliveries, the lowest priority number first, then the oldest.

        Parameters:
            limit: Most in all.
            per_queue: Most of a queue; one that is not named has no limit of its own.
        """
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
        job = self._database.write(lambda transaction: claim(transaction, wanted), durable=False)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(lambda job: self._give_back(wanted.lease, job))
            raise

    def _give_back(self, lease: int, job: asyncio.Future[list[Claimed] | None]) -> None:
        """Return what was claimed for a call that was cancelled meanwhile."""
        if job.cancelled() or job.exception() is not None or not (claimed := job.result()):
            return
        ids = json.dumps([row.id for row in claimed])
        with contextlib.suppress(UnavailableError):
            done = self._database.write(lambda transaction: give_back(transaction, lease, ids))
            done.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _deliver(self, lease: int, claimed: Sequence[Claimed]) -> list[Delivery]:
        deliveries = []
        for id_, crashes, data in claimed:
            delivery = _to_delivery(id_, lease, crashes, data)
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
        jobs = [
            self._database.write(lambda transaction, part=part: finish(transaction, ns, part, now))  # type: ignore[misc]
            for part in _parts(endings)
        ]
        answers: list[Exception | None] = []
        for job in jobs:
            answers += await job
        for ending, answer in zip(endings, answers, strict=True):
            if not isinstance(answer, UnavailableError):
                self._held.pop(ending.token.id, None)
        return endings.merge(answers)

    async def depth(self, queue: str) -> Depth:
        """Count the messages of a queue."""
        number = (await self._database.queues(())).get(queue)
        return await self._database.read(lambda connection: depth_of(connection, number))

    # ------------------------------------------------------------ life and death of workers

    async def evict(self, worker: str) -> int:
        """Take away what the workers of that name hold, at once; return how much that was."""
        ns, path = self._database.ns, self._database.path

        def run(transaction: Transaction) -> tuple[int, list[int]]:
            leases = _workers.find(transaction.connection, ns, worker)
            return _workers.evict(transaction, leases), leases

        taken, leases = await self._database.write(run)
        _workers.bury_all(path, leases)
        return taken

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

    async def join(self) -> None:
        """Register the worker, unless it is registered."""
        async with self._joining:
            if self.lease is None:
                ns, name = self._database.ns, self._worker
                self.lease = await self._database.write(lambda transaction: _workers.register(transaction, ns, name))
                self._wake()

    async def _leave(self) -> None:
        lease, self.lease = self.lease, None
        self._queues, self._held = {}, {}
        if lease is not None:
            await self._database.write(lambda transaction: _workers.leave(transaction, lease))
            let_go(lock_path(self._database.path, lease))


def _to_delivery(id_: int, lease: int, crashes: int, data: bytes) -> Delivery:
    suspect = crashes > 0
    try:
        envelope = read_envelope(data)
    except (msgspec.MsgspecError, ValueError):
        return Delivery(None, Token(id_, lease, None), crashes, suspect, data)
    return Delivery(envelope, Token(id_, lease, envelope.uuid.bytes), envelope.crashes + crashes, suspect)


def _queues_of(batch: Sequence[Outcome]) -> list[str]:
    names = [envelope.queue for outcome in batch for _, envelope in outcome.sends]
    names += [outcome.verdict.envelope.queue for outcome in batch if isinstance(outcome.verdict, Retry)]
    return names


def _parts(rows: list[NewTask] | list[Ending]) -> list[list[NewTask]] | list[list[Ending]]:
    return [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]  # type: ignore[return-value]
