"""sqlite:// passes every suite of the kit."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from qtasks_sqlite import SqliteBroker, SqliteGlobalConfig, SqliteStorage
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

WAITING = """
    SELECT uuid FROM tasks JOIN namespaces ON namespaces.id = ns
    WHERE state IN (0, 1) AND namespaces.name = ?"""


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    path = tmp_path / "kit.db"

    async def waiting(context: KitContext) -> Sequence[UUID]:
        """Look into the file with a connection of the test's own."""
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return [UUID(bytes=row[0]) for row in connection.execute(WAITING, (context.namespace,))]

    return Subject(
        f"sqlite:///{path}",
        broker=SqliteBroker,
        storage=SqliteStorage,
        global_config=SqliteGlobalConfig,
        back_door=waiting,
        wrong_urls=(
            "sqlite://",
            "sqlite:///",
            "sqlite://host/name.db",
            "sqlite:///:memory:",
            "sqlite:///name.db?mode=ro",
            "redis://localhost",
        ),
        movable_clock=True,
        durable=True,
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
