"""The suites that every backend must pass.

A backend's test module describes it once and subclasses what it offers:

    @pytest.fixture
    def subject(tmp_path):
        return Subject(url=f"sqlite:///{tmp_path}/kit.db", broker=SqliteBroker, storage=SqliteStorage, durable=True)

    class TestSender(SenderSuite): ...
    class TestBroker(BrokerSuite): ...
    class TestStorage(StorageSuite): ...
    class TestRetries(RetrySuite): ...

Some suites are about one component (SenderSuite, StorageSuite, ...); the others are about what tasks can do
(RetrySuite, CancelSuite, ...): they run apps and workers on the subject, and docs/features.md is made of them.
RefusalsSuite is for a backend that lacks something, and checks what its users are told.

Tests ask for capabilities, protocols and traits, never for a brand. What is skipped is told at the end of the run with
its reason. A suite cannot be weakened: a test that is replaced, skipped or expected to fail is itself a failure.
"""

from qtasks_testing.kit.bench import Bench
from qtasks_testing.kit.broker import BrokerSuite
from qtasks_testing.kit.cancels import CancelsSuite
from qtasks_testing.kit.consumer import Consumer
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.evicts import EvictsSuite
from qtasks_testing.kit.features.at_most_once import AtMostOnceSuite
from qtasks_testing.kit.features.calling import CallsSuite
from qtasks_testing.kit.features.cancelling import CancelSuite
from qtasks_testing.kit.features.contexts import ContextSuite
from qtasks_testing.kit.features.dead_letters import DeadLetterSuite
from qtasks_testing.kit.features.generators import GeneratorSuite
from qtasks_testing.kit.features.operations import OperationsSuite
from qtasks_testing.kit.features.priorities import PrioritySuite
from qtasks_testing.kit.features.queues import QueuesSuite
from qtasks_testing.kit.features.refusals import RefusalsSuite
from qtasks_testing.kit.features.retries import RetrySuite
from qtasks_testing.kit.features.timeouts import TimeoutSuite
from qtasks_testing.kit.features.times import TimesSuite
from qtasks_testing.kit.features.uniqueness import UniqueSuite
from qtasks_testing.kit.fused_broker import FusedBrokerSuite
from qtasks_testing.kit.fused_sender import FusedSenderSuite
from qtasks_testing.kit.global_config import GlobalConfigSuite
from qtasks_testing.kit.inspectable import InspectableSuite
from qtasks_testing.kit.machine import StatefulSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.results import ResultsSuite
from qtasks_testing.kit.sender import SenderSuite
from qtasks_testing.kit.storage import StorageSuite
from qtasks_testing.kit.streams import StreamsSuite
from qtasks_testing.kit.subject import Subject, Trait
from qtasks_testing.kit.suite import Suite

__all__ = [
    "AtMostOnceSuite",
    "Bench",
    "BrokerSuite",
    "CallsSuite",
    "CancelSuite",
    "CancelsSuite",
    "Consumer",
    "ContextSuite",
    "DeadLetterSuite",
    "EvictsSuite",
    "FusedBrokerSuite",
    "FusedSenderSuite",
    "GeneratorSuite",
    "GlobalConfigSuite",
    "InspectableSuite",
    "KitContext",
    "OperationsSuite",
    "PrioritySuite",
    "QueuesSuite",
    "RefusalsSuite",
    "ResultsSuite",
    "RetrySuite",
    "SenderSuite",
    "StatefulSuite",
    "StorageSuite",
    "StreamsSuite",
    "Subject",
    "Suite",
    "TimeoutSuite",
    "TimesSuite",
    "Trait",
    "UniqueSuite",
    "requires",
]
