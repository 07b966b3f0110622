"""redis:// passes every suite of the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from qtasks_redis import RedisBroker, RedisGlobalConfig, RedisStorage
from qtasks_redis._keys import Keys
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
from qtasks_testing.resp import call_redis

if TYPE_CHECKING:
    from collections.abc import Sequence

WAITING = """
    local ids = {}
    for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'queues')) do
      for _, priority in ipairs(redis.call('ZRANGE', KEYS[1] .. 'p:' .. queue, 0, -1)) do
        for _, item in ipairs(redis.call('LRANGE', KEYS[1] .. 'q:' .. priority .. queue, 0, -1)) do
          table.insert(ids, string.sub(item, 1, 16))
        end
      end
      for _, item in ipairs(redis.call('ZRANGE', KEYS[1] .. 'd:' .. queue, 0, -1)) do
        table.insert(ids, string.sub(item, 1, 16))
      end
    end
    return ids"""


@pytest.fixture
def subject(redis_url: str) -> Subject:
    server = urlsplit(redis_url)

    async def waiting(context: KitContext) -> Sequence[UUID]:
        """Look into the lists with a connection of the test's own."""
        prefix = Keys(context.namespace, 0).prefix
        (found,) = call_redis(str(server.hostname), int(server.port or 0), ("EVAL", WAITING, 1, prefix))
        return [UUID(bytes=uuid) for uuid in found]

    return Subject(
        redis_url,
        broker=RedisBroker,
        storage=RedisStorage,
        global_config=RedisGlobalConfig,
        back_door=waiting,
        wrong_urls=("redis://:99999", "redis://localhost/x", "redis://localhost?tiemout=1", "sqlite:///name.db"),
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
