"""sqlite:// with its records in a second file passes the suites of features: nothing is fused there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qtasks_sqlite import SqliteBroker, SqliteGlobalConfig, SqliteStorage
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
def subject(tmp_path: Path) -> Subject:
    def records(_: str, context: Any) -> SqliteStorage:
        return SqliteStorage(f"sqlite:///{tmp_path}/records.db", context)

    return Subject(
        f"sqlite:///{tmp_path}/queue.db",
        broker=SqliteBroker,
        storage=records,
        global_config=SqliteGlobalConfig,
        movable_clock=True,
        durable=True,
    )


class TestAtMostOnce(AtMostOnceSuite): ...


class TestCancel(CancelSuite): ...


class TestCalls(CallsSuite): ...


class TestContext(ContextSuite): ...


class TestGenerators(GeneratorSuite): ...


class TestOperations(OperationsSuite): ...


class TestPriority(PrioritySuite): ...


class TestQueues(QueuesSuite): ...


class TestRetries(RetrySuite): ...


class TestTimeouts(TimeoutSuite): ...


class TestTimes(TimesSuite): ...


class TestDeadLetters(DeadLetterSuite): ...


class TestUnique(UniqueSuite): ...
