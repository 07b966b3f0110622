"""A backend that has nothing but a broker and results passes the suites of features, and says what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from qtasks_core.contract import Capability, Limits
from qtasks_core.memory import MemoryBroker, MemoryStorage
from qtasks_testing.kit import (
    AtMostOnceSuite,
    CallsSuite,
    ContextSuite,
    GeneratorSuite,
    OperationsSuite,
    PrioritySuite,
    QueuesSuite,
    RefusalsSuite,
    RetrySuite,
    Subject,
    TimeoutSuite,
    TimesSuite,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from uuid import UUID

    from qtasks_core.contract import Broker, Delivery, Depth, Envelope, Event, Outcome, PerItem, Results, TaskRecord


class Least:
    """Passes on no more than the contract asks for."""

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability.RECEIVE

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def start(self) -> None:
        await self._inner.start()

    async def stop(self) -> None:
        await self._inner.stop()

    async def clear(self) -> None:
        await self._inner.clear()


class LeastBroker(Least):
    """A Broker, and no more."""

    _inner: Broker

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(MemoryBroker(url, context))
        self.limits: Limits = self._inner.limits

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        return await self._inner.send(batch)

    async def subscribe(self, queues: Sequence[str], worker: str, slots: int, lost: Any) -> None:
        await self._inner.subscribe(queues, worker, slots, lost)

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        return await self._inner.receive(limit, per_queue)

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        return await self._inner.settle(batch)

    async def depth(self, queue: str) -> Depth:
        return await self._inner.depth(queue)


class LeastResults(Least):
    """Results, and no more: outcomes reach who waits, and that is all."""

    _inner: Results
    address: str | None = "mailbox"

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(MemoryStorage(url, context))

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        return await self._inner.finish(batch)

    async def append(self, batch: Sequence[Event]) -> PerItem:
        return await self._inner.append(batch)

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        return await self._inner.wait(uuid, timeout_s)

    async def events(self, uuid: UUID, after: Any = None) -> AsyncIterator[Event]:
        async for event in self._inner.events(uuid, after):
            yield event


@pytest.fixture
def subject() -> Subject:
    return Subject("memory://", broker=LeastBroker, storage=LeastResults, silence_s=0.02)


class TestRetries(RetrySuite): ...


class TestTimeouts(TimeoutSuite): ...


class TestTimes(TimesSuite): ...


class TestOperations(OperationsSuite): ...


class TestPriority(PrioritySuite): ...


class TestQueues(QueuesSuite): ...


class TestAtMostOnce(AtMostOnceSuite): ...


class TestGenerators(GeneratorSuite): ...


class TestContext(ContextSuite): ...


class TestCalls(CallsSuite): ...


class TestRefusals(RefusalsSuite): ...
