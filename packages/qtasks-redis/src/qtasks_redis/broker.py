"""The broker: messages wait in lists of ids, and belong to whose set of ids in flight they are in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from qtasks_core.contract import Capability, Delivery
from qtasks_core.errors import FencedError, QTasksError, SendUnknownError, UnavailableError
from qtasks_redis import _changing, _finishing
from qtasks_redis._heart import Heart
from qtasks_redis._lua import load
from qtasks_redis._mover import Mover
from qtasks_redis._operating import RedisOperator
from qtasks_redis._values import HEAD, ITEM, LARGE, UNREADABLE, delivered, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from qtasks_core.contract import ComponentContext, Outcome, PerItem

__all__ = ["RedisBroker"]

TAKE, GIVE_BACK, JOIN, LEAVE, PASS = map(load, ("take", "give_back", "join", "leave", "pass"))
MOST_AT_ONCE, MOST_BYTES = 1000, 1024 * 1024
AGAIN_S = 0.5
NEVER = 1 << 62

logger = logging.getLogger("qtasks.redis")


class RedisBroker(RedisOperator):
    """Move messages through one Redis server.

    Parameters:
        url: See docs/brokers/redis.md.
        context: The app's.

    Raises:
        ConfigError: The URL has another form.
    """

    capabilities: ClassVar[Capability] = (
        Capability.RECEIVE | Capability.PRIORITY | Capability.UNIQUE | Capability.FENCED
    )

    def __init__(self, url: str, context: ComponentContext) -> None:
        super().__init__(url, context)
        self.worker = ""
        self.epoch: int | None = None
        self._last_epoch = 0
        self._queues: tuple[str, ...] = ()
        self._lost: Callable[[Sequence[Delivery]], None] | None = None
        self._held: dict[bytes, Delivery] = {}
        self._unsure: set[bytes] = set()
        self._turns = itertools.count(1)
        self._rung = 0
        self._large = LARGE
        self._receiving = 0
        self._asleep: set[asyncio.Future[None]] = set()
        self._idle_in: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        lease_s = context.config.lease_ttl
        self._heart: Heart = context.shared(("redis heart", self.home), lambda: Heart(self.home, lease_s))

    async def on_start(self) -> None:
        """Begin as a client; subscribe() makes a worker of it."""
        self._joining = asyncio.Lock()
        self._mover = Mover(self.link)

    async def on_stop(self) -> None:
        """Give back, uncharged, what is still held."""
        self._mover.stop()
        for task in list(self._tasks):
            task.cancel()
        self._wake()
        self._heart.remove(self)
        await self.link.listener.unlisten(self.link.movers, self._mover)
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
        self.worker, self._lost = worker, lost
        await self._join()
        await self.link.listener.listen(self.link.movers, self._mover)
        self._queues = tuple(dict.fromkeys(queues))
        self._mover.follow(self._queues)
        await self._pass_on()
        self._wake()

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit deliveries, the lowest priority number first, then the oldest.

        Parameters:
            limit: Most in all.
            per_queue: Most of a queue; one that is not named has no limit of its own.

        Raises:
            UnavailableError: The server is away.
        """
        if limit < 1:
            raise ValueError(f"limit: expected 1 or more, got {limit}")
        if self._lost is None:
            raise RuntimeError("subscribe() comes before receive()")
        self._receiving += 1
        try:
            while self._started:
                rung, epoch = self._rung, self.epoch
                wanted = self._wanted(limit, per_queue)
                if epoch is None:
                    await self._join()
                    continue
                if wanted and (deliveries := await self._take(epoch, min(limit, MOST_AT_ONCE), wanted)):
                    return deliveries
                if self._rung == rung and self.epoch == epoch:
                    await self._sleep()
        finally:
            self._receiving -= 1
        raise UnavailableError("the broker was stopped")

    def _wanted(self, limit: int, per_queue: Mapping[str, int] | None) -> list[tuple[str, int]]:
        if per_queue is None:
            return [(name, limit) for name in self._queues]
        most = [(name, per_queue.get(name, limit)) for name in self._queues]
        return [(name, count) for name, count in most if count > 0]

    async def _take(self, epoch: int, limit: int, wanted: Sequence[tuple[str, int]]) -> list[Delivery]:
        turn = next(self._turns)
        mark = turn.to_bytes(4, "big")
        leaves, self._idle_in = self._idle_in, {name for name, _ in wanted}
        args: list[bytes | int] = [self.worker.encode(), epoch, turn, mark, limit, MOST_BYTES, len(leaves)]
        args += [name.encode() for name in leaves]
        for name, most in wanted:
            args += (name.encode(), most)
        try:
            reply = await self.link.run(TAKE, *args)
        except asyncio.CancelledError:
            self._spawn(self._give_back(epoch, turn))
            self._spawn(self._pass_on())
            raise
        except SendUnknownError as error:
            self._spawn(self._give_back(epoch, turn))
            raise UnavailableError(str(error)) from error
        if self.epoch != epoch:
            return []  # evicted meanwhile, and lost() is told: of what was on its way nobody has heard
        if not reply:
            self._evicted(epoch)
            return []
        self._mover.hint(float(reply[0]))
        if len(reply) == 1:
            return []
        self._idle_in = set()
        deliveries, large = _deliveries(reply, mark)
        if large:
            deliveries = await self._fetch(epoch, turn, deliveries, large)
            if self.epoch != epoch:
                return []
        for delivery in deliveries:
            self._held[delivery.token] = delivery  # type: ignore[index]  # bytes
        return deliveries

    async def _fetch(self, epoch: int, turn: int, deliveries: list[Delivery], large: Sequence[int]) -> list[Delivery]:
        """Get the values that are too large for the script."""
        try:
            uuids = [UUID(bytes=_token(deliveries[place])[:16]) for place in large]
            values = await _changing.read(self.link, uuids)
        except asyncio.CancelledError:
            self._spawn(self._give_back(epoch, turn))
            raise
        except (SendUnknownError, UnavailableError) as error:
            self._spawn(self._give_back(epoch, turn))
            raise UnavailableError(str(error)) from error
        gone = set()
        for place, value in zip(large, values, strict=True):
            token = _token(deliveries[place])
            if value is not None and value.has_message and value.generation == token[16:ITEM]:
                deliveries[place] = _delivery(token, value.data)
            else:
                gone.add(place)
        return [delivery for place, delivery in enumerate(deliveries) if place not in gone]

    async def _give_back(self, epoch: int, turn: int) -> None:
        """Put back, uncharged, what a call took that nobody has seen; also when the server is away just now."""
        while self.epoch == epoch:
            try:
                await self.link.run(GIVE_BACK, self.worker.encode(), epoch, turn, turn.to_bytes(4, "big"))
            except QTasksError:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _sleep(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._asleep.add(future)
        try:
            await future
        except asyncio.CancelledError:
            self._spawn(self._pass_on())
            raise
        finally:
            self._asleep.discard(future)

    def _wake(self) -> None:
        """Have who waits in receive() look again."""
        self._rung += 1
        for future in self._asleep:
            if not future.done():
                future.set_result(None)

    def lost(self) -> None:
        """Know that the bell is not heard for a while; see Hearer."""

    def again(self) -> None:
        """Look after what came meanwhile; see Hearer."""
        self._wake()

    def heard(self, payload: bytes) -> None:
        """Hear this worker's bell."""
        if payload[:1] == b"L":
            if self.epoch is not None:
                self._evicted(self.epoch)
            return
        queue = payload[1:].decode()
        if self._receiving and queue in self._idle_in:
            self._wake()
        else:
            self._spawn(self._hand_on({queue}))

    async def _pass_on(self) -> None:
        """Be idle no more, and hand on the bells that may have rung meanwhile."""
        queues, self._idle_in = self._idle_in, set()
        if queues:
            await self._hand_on(queues)

    async def _hand_on(self, queues: set[str]) -> None:
        if self.epoch is None:
            return
        try:
            await self.link.run(PASS, self.link.bell(self.epoch), *(queue.encode() for queue in queues))
        except QTasksError:
            self._idle_in |= queues
        self._wake()  # a call that began meanwhile may have become idle before this took it back

    # ------------------------------------------------------------ settling

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups and verdicts; records are another storage's."""
        return await self._finish(batch, fused=False)

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups, records and verdicts, all of an item or nothing."""
        return await self._finish(batch, fused=True)

    async def _finish(self, batch: Sequence[Outcome], *, fused: bool) -> PerItem:
        config = self._context.config
        most, self._large = self._large, LARGE
        endings = _finishing.pack(batch, config.result_ttl, self.limits.message_bytes, fused=fused, large=most)
        if not endings.members:
            return endings.answers
        epoch = self._last_epoch
        staged = self._stage(endings.staged)
        try:
            reply = await self.link.run(
                _finishing.FINISH, self.link.movers, epoch, config.dead_letter_max, *endings.args
            )
        except SendUnknownError:
            self._unsure.update(endings.members)
            raise
        is_full = self.link.fault_of(staged) is not None
        answers, dropped = _finishing.read_answers(endings, reply)
        if dropped:
            logger.warning("%d dead letter(s) were dropped: a queue keeps %d", dropped, config.dead_letter_max)
        if self._unsure and len(reply) > 1:
            await self._look_again(endings, answers)
        for member, place in zip(endings.members, endings.places, strict=True):
            if not isinstance(answers[place], UnavailableError):
                self._held.pop(member, None)
                self._unsure.discard(member)
        if is_full:
            await self._finish_whole(batch, answers, fused=fused)
        return answers

    async def _finish_whole(self, batch: Sequence[Outcome], answers: list[Exception | None], *, fused: bool) -> None:
        """Write through the script what a full server does not take beside it: ends make room."""
        places = [place for place, answer in enumerate(answers) if isinstance(answer, UnavailableError)]
        self._large = NEVER
        for place, answer in zip(
            places, await self._finish([batch[place] for place in places], fused=fused), strict=True
        ):
            answers[place] = answer

    async def _look_again(self, endings: _finishing.Endings, answers: list[Exception | None]) -> None:
        """See whether what is not ours any more was done when a reply was lost: its key tells."""
        doubtful = [
            number
            for number, (member, place) in enumerate(zip(endings.members, endings.places, strict=True))
            if member in self._unsure and isinstance(answers[place], FencedError)
        ]
        found = await _changing.read(self.link, [UUID(bytes=endings.members[number][:16]) for number in doubtful])
        for number, value in zip(doubtful, found, strict=True):
            expected = endings.values[number]
            if expected is not None and (not expected if value is None else value.says(expected)):
                answers[endings.places[number]] = None

    # ------------------------------------------------------------ registration

    def tell_lost(self, epoch: int) -> None:
        """Hear, on the thread of the heart, that this registration is gone."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._evicted, epoch)

    def _evicted(self, epoch: int) -> None:
        """Say what is lost, and register again."""
        if self.epoch != epoch or not self._started:
            return
        self.epoch = None
        lost, self._held = list(self._held.values()), {}
        self._unsure.clear()
        self._idle_in = set()
        logger.warning("worker %s was evicted; %d running task(s) are lost", self.worker, len(lost))
        if lost and self._lost is not None:
            self._lost(lost)
        self._wake()
        self._spawn(self._rejoin())

    async def _rejoin(self) -> None:
        while self.epoch is None and self._started:
            try:
                await self._join()
            except QTasksError:
                await asyncio.sleep(AGAIN_S)

    async def _join(self) -> None:
        """Register the worker, unless it is registered."""
        async with self._joining:
            if self.epoch is not None:
                return
            lease = ms(self._context.config.lease_ttl)
            epoch = int(await self.link.run(JOIN, self.worker.encode(), lease, self.link.bell("")))
            await self.link.listener.unlisten(self.link.bell(self._last_epoch), self)
            await self.link.listener.listen(self.link.bell(epoch), self)
            self.epoch = self._last_epoch = epoch
            self._heart.add(self)
        self._wake()

    async def _leave(self) -> None:
        epoch, self.epoch = self.epoch, None
        queues, self._idle_in = set(self._queues) | self._idle_in, set()
        self._queues, self._held = (), {}
        if epoch is not None:
            names = [queue.encode() for queue in queues]
            try:
                await self.link.run(LEAVE, self.worker.encode(), epoch, self.link.bell(epoch), *names)
            finally:  # where it cannot say so, the others take over when its lease is over
                await self.link.listener.unlisten(self.link.bell(epoch), self)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _token(delivery: Delivery) -> bytes:
    assert isinstance(delivery.token, bytes)  # noqa: S101  # as _deliveries() made it
    return delivery.token


def _deliveries(reply: Sequence[Any], mark: bytes) -> tuple[list[Delivery], list[int]]:
    """Decode what a take returned; the places of large ones, whose values are not in it, come second."""
    deliveries: list[Delivery] = []
    large: list[int] = []
    at = 1
    while at < len(reply):
        suffix, items = mark + reply[at], reply[at + 1]
        at += 2
        for start in range(0, len(items), ITEM):
            value = reply[at]
            at += 1
            if not value:
                large.append(len(deliveries))
                deliveries.append(Delivery(None, items[start : start + ITEM] + suffix))
            else:
                deliveries.append(_delivery(items[start : start + ITEM] + suffix, value))
    return deliveries, large


def _delivery(token: bytes, value: bytes) -> Delivery:
    """Decode a message; under another id than its key's it could never be settled, so it is as good as unreadable."""
    crashes = value[1]
    try:
        envelope = delivered(value)
    except UNREADABLE:
        return Delivery(None, token, crashes, crashes > 0, value[HEAD:])
    if envelope.uuid.int != int.from_bytes(token[:16], "big"):
        return Delivery(None, token, crashes, crashes > 0, value[HEAD:])
    return Delivery(envelope, token, envelope.crashes + crashes, crashes > 0)
