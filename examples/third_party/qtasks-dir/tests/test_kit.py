"""dir:// passes every suite of the kit that asks for what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from qtasks_dir import DirBroker, DirGlobalConfig, DirStorage
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
    RefusalsSuite,
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
    from pathlib import Path


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    folder = tmp_path / "kit"

    async def waiting(context: KitContext) -> Sequence[UUID]:
        """Look at the names of the files: what is in ready/ and in delayed/ waits."""
        queues = folder / context.namespace / "queues"
        files = [*queues.glob("ready/*/*"), *queues.glob("delayed/*/*")]
        return [UUID(path.name.split("-")[2]) for path in files]

    return Subject(
        f"dir:///{folder}",
        broker=DirBroker,
        storage=DirStorage,
        global_config=DirGlobalConfig,
        back_door=waiting,
        wrong_urls=(
            "dir://",
            "dir:///",
            "dir:////",
            "dir:/tmp/kit",
            "dir://host/tmp/kit",
            f"dir:///{folder}?sync=perhaps",
            f"dir:///{folder}?mode=fast",
            f"dir:///{folder}#part",
            f"dir:///{folder}/not/there",
            "redis://localhost",
        ),
        movable_clock=True,
        durable=True,
        silence_s=0.2,
    )


class TestSender(SenderSuite): ...


class TestBroker(BrokerSuite): ...


class TestEvicts(EvictsSuite): ...


class TestStateful(StatefulSuite): ...


class TestResults(ResultsSuite): ...


class TestStorage(StorageSuite): ...


class TestStreams(StreamsSuite): ...


class TestGlobalConfig(GlobalConfigSuite): ...


class TestInspectable(InspectableSuite): ...


# ---------------------------------------------------------------- what it does not declare: skipped, and told so


class TestFusedSender(FusedSenderSuite): ...


class TestFusedBroker(FusedBrokerSuite): ...


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


class TestRefusals(RefusalsSuite): ...
