"""A broker and a storage on two servers pass the suites of features: what is one step elsewhere is several here."""

from __future__ import annotations

import pytest

from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_testing.kit import (
    AtMostOnceSuite,
    CallsSuite,
    CancelSuite,
    ContextSuite,
    DeadLetterSuite,
    GeneratorSuite,
    OperationsSuite,
    PrioritySuite,
    QueuesSuite,
    RetrySuite,
    Subject,
    TimeoutSuite,
    TimesSuite,
    UniqueSuite,
)


@pytest.fixture
def subject() -> Subject:
    return Subject(
        "memory://messages",
        broker=MemoryBroker,
        storage=lambda _, context: MemoryStorage("memory://records", context),
        global_config=lambda _, context: MemoryGlobalConfig("memory://records", context),
        silence_s=0.02,
    )


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
