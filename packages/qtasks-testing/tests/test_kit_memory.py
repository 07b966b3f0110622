"""memory:// passes every suite of the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryServer, MemoryStorage
from qtasks_testing.kit import (
    AtMostOnceSuite,
    BrokerSuite,
    CallsSuite,
    CancelsSuite,
    CancelSuite,
    ContextSuite,
    DeadLetterSuite,
    EvictsSuite,
    FusedBrokerSuite,
    FusedSenderSuite,
    GeneratorSuite,
    GlobalConfigSuite,
    InspectableSuite,
    KitContext,
    OperationsSuite,
    PrioritySuite,
    QueuesSuite,
    ResultsSuite,
    RetrySuite,
    SenderSuite,
    StatefulSuite,
    StorageSuite,
    StreamsSuite,
    Subject,
    TimeoutSuite,
    TimesSuite,
    UniqueSuite,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

URL = "memory://"


async def waiting(context: KitContext) -> Sequence[UUID]:
    """Look at the server's tasks, past its methods."""
    tasks = MemoryServer.shared(URL, context).ledger.tasks
    return [uuid for uuid, task in tasks.items() if task.where == "waiting"]


@pytest.fixture
def subject() -> Subject:
    return Subject(
        URL,
        broker=MemoryBroker,
        storage=MemoryStorage,
        global_config=MemoryGlobalConfig,
        back_door=waiting,
        wrong_urls=("memory:///path", "memory://?x=1", "redis://localhost"),
        movable_clock=True,
        silence_s=0.02,
    )


class TestSender(SenderSuite): ...


class TestBroker(BrokerSuite): ...


class TestEvicts(EvictsSuite): ...


class TestStateful(StatefulSuite): ...


class TestResults(ResultsSuite): ...


class TestStorage(StorageSuite): ...


class TestStreams(StreamsSuite): ...


class TestGlobalConfig(GlobalConfigSuite): ...


class TestFusedSender(FusedSenderSuite): ...


class TestFusedBroker(FusedBrokerSuite): ...


class TestInspectable(InspectableSuite): ...


class TestCancels(CancelsSuite): ...


# ---------------------------------------------------------------- features


class TestRetries(RetrySuite): ...


class TestTimeouts(TimeoutSuite): ...


class TestTimes(TimesSuite): ...


class TestOperations(OperationsSuite): ...


class TestPriority(PrioritySuite): ...


class TestQueues(QueuesSuite): ...


class TestCancel(CancelSuite): ...


class TestDeadLetters(DeadLetterSuite): ...


class TestUnique(UniqueSuite): ...


class TestAtMostOnce(AtMostOnceSuite): ...


class TestGenerators(GeneratorSuite): ...


class TestContext(ContextSuite): ...


class TestCalls(CallsSuite): ...
