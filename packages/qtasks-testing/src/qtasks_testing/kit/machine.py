"""Random interleavings of send, receive, settle, crash and resume, against a model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from qtasks_core.contract import Ack, Capability, Dead, Evicts, Outcome, Release, Retry
from qtasks_core.errors import AlreadyExists, FencedError
from qtasks_testing.kit.bench import Bench
from qtasks_testing.kit.model import Model
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, next_attempt, sorted_uuids, uuids_of
from qtasks_testing.kit.suite import Suite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    import pytest

    from qtasks_core.contract import Delivery, Envelope
    from qtasks_testing.kit.consumer import Consumer
    from qtasks_testing.kit.subject import Subject

__all__ = ["StatefulSuite"]

T = TypeVar("T")

WORKERS = ("w1", "w2", "w3")
QUEUES = ("a", "b")
DELAY_S = 10.0
SHORT_S = 0.004  # to see that nothing comes; also a cancelled call in the middle of whatever it does

workers = st.sampled_from(WORKERS)
messages = st.tuples(st.sampled_from(QUEUES), st.integers(-1, 1), st.sampled_from((0.0, 0.0, 0.0, DELAY_S)))
verdicts = st.sampled_from(("ack", "ack", "retry", "retry later", "release", "release later", "dead"))


class BrokerMachine(RuleBasedStateMachine):
    """A broker with three workers that take, settle, die, pause and come back.

    What a cancelled call still returns is a matter of time, and hypothesis wants the same draws to go on the same way.
    So no rule is enabled by what the model holds: one that finds nothing to do does nothing.
    """

    subject: ClassVar[Subject]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(self.subject, "broker")
        self.consumers: dict[str, Consumer] = {}
        self.queues: dict[str, tuple[str, ...]] = {}
        self.sent: list[Envelope] = []
        self.refused: list[Delivery] = []
        self.lost: dict[str, list[Delivery]] = {worker: [] for worker in WORKERS}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the machine's own loop."""
        return self.loop.run_until_complete(coroutine)

    def now(self) -> float:
        """Return the time by the app's clock."""
        return self.bench.context.clock()

    @initialize(batch=st.lists(messages, min_size=2, max_size=8))
    def begin(self, batch: list[tuple[str, int, float]]) -> None:
        """Start a sender and the workers, and send something to begin with."""
        self.sender: Any = self.run(self.bench.broker())
        self.model = Model(Capability.PRIORITY in self.sender.capabilities, held={worker: [] for worker in WORKERS})
        for worker, queues in zip(WORKERS, (QUEUES, QUEUES, ("a",)), strict=True):
            self.consumers[worker] = self.run(self.bench.consumer(worker, queues))
            self.queues[worker] = queues
        self.send(batch, [])

    # ------------------------------------------------------------ what happens

    @rule(batch=st.lists(messages, min_size=1, max_size=5), again=st.lists(st.integers(0, 99), max_size=2))
    def send(self, batch: list[tuple[str, int, float]], again: list[int]) -> None:
        """Send new messages, sometimes with some that were sent before: there still, dead, or long forgotten."""
        new = [envelope(queue, priority=priority, delay_s=delay_s) for queue, priority, delay_s in batch]
        items = [*(self._sent_before(pick) for pick in again if self.sent and self.subject.identity), *new]
        now = self.now()
        answers = self.run(self.sender.send(items))

        expected = [type(None) if self.model.send(item, now) else AlreadyExists for item in items]
        assert [type(answer) for answer in answers] == expected
        self.sent += new

    @rule(pick=st.integers(0, 9), limit=st.integers(1, 4))
    def receive(self, pick: int, limit: int) -> None:
        """Take what is there."""
        served = self._served()
        if not served:
            return
        worker = served[pick % len(served)]
        got = self.run(self.consumers[worker].receive(limit))
        self.model.receive(worker, got, self.queues[worker], self.now())

    @rule(pick=st.integers(0, 9), limit=st.integers(1, 4))
    def receive_nothing(self, pick: int, limit: int) -> None:
        """See that nothing comes where nothing may."""
        served = self._served()
        unserved = [worker for worker in WORKERS if worker not in served]
        if unserved:
            assert not self.run(self._receive_briefly(unserved[pick % len(unserved)], limit))

    @rule(worker=workers, limit=st.integers(1, 4), turns=st.sampled_from((0, 1, 1, 2, 2, 3, 5, 9)))
    def receive_cancelled(self, worker: str, limit: int, turns: int) -> None:
        """Take, and give up after some turns of the loop; what was returned nevertheless is held."""
        got = self.run(self._receive_cancelled(worker, limit, turns))
        self.model.receive(worker, got, self.queues[worker], self.now())

    @rule(pick=st.integers(0, 9), picks=st.lists(st.tuples(st.integers(0, 9), verdicts), min_size=1, max_size=4))
    def settle(self, pick: int, picks: list[tuple[int, str]]) -> None:
        """Settle some of what a worker holds, or held before, in one batch; where nobody holds anything, take first."""
        if not any(self.model.held.values()):
            self.receive(pick, len(picks))
        busy = [worker for worker in WORKERS if self.model.held[worker]]
        if not busy:
            return
        worker = busy[pick % len(busy)]
        mine = self.model.held[worker] + self.model.outdated(worker)[-1:]
        outcomes = [_outcome(mine[pick % len(mine)], verdict) for pick, verdict in picks]
        now = self.now()
        answers = self.run(self.consumers[worker].settle(*outcomes))

        own = [self.model.settle(worker, item.delivery, item.verdict, now) for item in outcomes]
        self.refused += [item.delivery for item, mine in zip(outcomes, own, strict=True) if not mine]
        assert [type(answer) for answer in answers] == [type(None) if mine else FencedError for mine in own]

    @rule(pick=st.integers(0, 9), verdict=verdicts)
    def settle_late(self, pick: int, verdict: str) -> None:
        """Let an old owner settle what somebody holds now."""
        late = self.model.in_other_hands()
        if not late:
            return
        worker, delivery = late[pick % len(late)]
        answers = self.run(self.consumers[worker].settle(_outcome(delivery, verdict)))
        self.refused.append(delivery)

        assert [type(answer) for answer in answers] == [FencedError]

    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        """Take away what a worker holds; it may come back and go on, or settle what it lost."""
        count = self.run(self.sender.evict(worker))
        lost = self.model.evict(worker)

        assert count == len(lost)
        self.lost[worker] += lost

    @rule(worker=workers)
    def pause(self, worker: str) -> None:
        """Take no more, and keep what is held."""
        self.run(self.consumers[worker].subscribe(()))
        self.queues[worker] = ()

    @rule(worker=workers, queues=st.sampled_from((QUEUES, ("a",), ("b",))))
    def resume(self, worker: str, queues: tuple[str, ...]) -> None:
        """Take again."""
        self.run(self.consumers[worker].subscribe(queues))
        self.queues[worker] = queues

    @precondition(lambda self: self.subject.movable_clock)
    @rule(seconds=st.sampled_from((1.0, DELAY_S / 2, DELAY_S)))
    def pass_time(self, seconds: float) -> None:
        """Let delayed messages become due."""
        self.bench.context.advance(seconds)

    # ------------------------------------------------------------ the end

    def teardown(self) -> None:
        """Let all workers die, and see that exactly what should be left is left."""
        try:
            if self.consumers:
                self._check_what_is_left()
        finally:
            self.run(self.bench.close())
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def _check_what_is_left(self) -> None:
        for worker in WORKERS:
            self.run(self.consumers[worker].subscribe(()))
            self.crash(worker)
        self.bench.context.advance(10 * DELAY_S)
        left = [entry for entry in self.model.alive() if self.subject.movable_clock or entry.due_at is None]
        last = self.run(self.bench.consumer("last", QUEUES))
        got = self.run(last.take(len(left))) if left else []
        got += self.run(self._rest(last))

        assert sorted(uuids_of(got)) == sorted_uuids(entry.envelope for entry in left)
        for queue in QUEUES:
            dead = self.run(self.sender.depth(queue)).dead
            assert dead in (None, self.model.count_dead(queue))
        for worker in WORKERS:
            self.run(eventually(lambda: not self._untold(worker), self.bench.patience_s, f"all is told to {worker}"))  # noqa: B023  # used at once
            assert [told for told in self.consumers[worker].lost if told not in self.lost[worker]] == []

    def _untold(self, worker: str) -> list[Delivery]:
        """Return what a worker lost without being told: by lost(), or by the answer to a later settle()."""
        told = [*self.consumers[worker].lost, *self.refused]
        return [delivery for delivery in self.lost[worker] if delivery not in told]

    # ------------------------------------------------------------ parts

    def _served(self) -> list[str]:
        return [worker for worker in WORKERS if self.model.ready(self.queues[worker], self.now())]

    def _sent_before(self, pick: int) -> Envelope:
        """Choose from all that was sent, or from what was acknowledged since."""
        forgotten = [sent for sent in self.sent if self.model.entries[sent.uuid].end == "acked"]
        pool = forgotten if forgotten and pick % 2 else self.sent
        return pool[pick // 2 % len(pool)]

    async def _rest(self, last: Consumer) -> Sequence[Delivery]:
        """Receive what is there too much; where the server cannot count, only silence tells that there is nothing."""
        ready = [(await self.sender.depth(queue)).ready for queue in QUEUES]
        return [] if ready == [0, 0] else await last.drain()

    async def _receive_briefly(self, worker: str, limit: int) -> Sequence[Delivery]:
        try:
            async with asyncio.timeout(SHORT_S):
                return await self.consumers[worker].broker.receive(limit)
        except TimeoutError:
            return await self._given_back()

    async def _receive_cancelled(self, worker: str, limit: int, turns: int) -> Sequence[Delivery]:
        receiving = asyncio.ensure_future(self.consumers[worker].broker.receive(limit))
        for _ in range(turns):
            await asyncio.sleep(0)
        receiving.cancel()
        try:
            return await receiving
        except asyncio.CancelledError:
            return await self._given_back()

    async def _given_back(self) -> Sequence[Delivery]:
        """Wait until what a cancelled call took, if anything, is back: a crash just then may charge it."""
        for queue in QUEUES:
            held = self.model.count_held(queue)
            await eventually(lambda: self._runs(queue, held), self.bench.patience_s, f"{held} of {queue} are held")  # noqa: B023  # used at once
        return []

    async def _runs(self, queue: str, count: int) -> bool:
        running = (await self.sender.depth(queue)).running
        return running in (None, count)


def _outcome(delivery: Delivery, verdict: str) -> Outcome:
    made: dict[str, Callable[[], Ack | Retry | Release | Dead]] = {
        "ack": Ack,
        "retry": lambda: Retry(next_attempt(delivery, crashes=delivery.crashes)),
        "retry later": lambda: Retry(next_attempt(delivery, delay_s=DELAY_S)),
        "release": Release,
        "release later": lambda: Release(DELAY_S),
        "dead": lambda: Dead("why"),
    }
    return Outcome(delivery, made[verdict]())


@requires(Evicts, Capability.FENCED)
class StatefulSuite(Suite):
    """Every broker that Evicts and is FENCED passes it."""

    component = "broker"
    examples: ClassVar[int] = 60

    async def test_no_interleaving_loses_repeats_or_disorders_anything(
        self, bench: Bench, request: pytest.FixtureRequest
    ) -> None:
        """Nothing lost, nothing settled twice, the order as promised, each crash counted once.

        Run it with --qtasks-shrink to have a failure made small.
        """
        shrink = request.config.getoption("--qtasks-shrink")
        machine = type("Machine", (BrokerMachine,), {"subject": bench.subject})
        found = settings(
            max_examples=self.examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=found)
