"""The whole kit on each mutant; `run.py` chooses from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qtasks_core.memory import MemoryServer
from qtasks_testing.kit import (
    BrokerSuite,
    CancelsSuite,
    EvictsSuite,
    FusedBrokerSuite,
    FusedSenderSuite,
    GlobalConfigSuite,
    InspectableSuite,
    KitContext,
    ResultsSuite,
    SenderSuite,
    StatefulSuite,
    StorageSuite,
    StreamsSuite,
    Subject,
)

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS  # a sibling: no package is here

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

URL = "memory://"


async def waiting(context: KitContext) -> Sequence[UUID]:
    tasks = MemoryServer.shared(URL, context).ledger.tasks
    return [uuid for uuid, task in tasks.items() if task.where == "waiting"]


@pytest.fixture(params=MUTANTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    mutant = MUTANTS[request.param]
    return Subject(
        URL,
        broker=mutant.broker,
        storage=mutant.storage,
        global_config=mutant.global_config,
        back_door=waiting,
        movable_clock=True,
        patience_s=0.3,
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
