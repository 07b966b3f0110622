"""A user with the rights that docs/brokers/redis.md tells to give, and no others, is enough for all there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import RefusedError
from qtasks_redis import RedisBroker, RedisGlobalConfig, RedisStorage
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
    StorageSuite,
    StreamsSuite,
    Subject,
    UniqueSuite,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_redis._link import Link
    from qtasks_testing import RedisServer

PAGE = Path(__file__).parents[3] / "docs/brokers/redis.md"


def _rule() -> list[str]:
    """Return the rule that the page shows, for the namespaces of the kit."""
    (line,) = re.findall(r"^\$ redis-cli -p \d+ (ACL SETUSER shop .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [word.strip("'").replace("{shop}", "{kit-*}") for word in line.split()]


@pytest.fixture
def url(redis_server: Callable[..., RedisServer]) -> str:
    server = redis_server()
    assert b"OK" == server.command(*_rule())
    server.command("ACL", "SETUSER", "default", "off")
    return f"redis://shop:secret@{server.host}:{server.port}/0"


@pytest.fixture
def subject(url: str) -> Subject:
    return Subject(url, broker=RedisBroker, storage=RedisStorage, global_config=RedisGlobalConfig, durable=True)


async def test_the_rights_end_at_the_namespace(
    url: str, opened: Callable[..., AbstractAsyncContextManager[Link]]
) -> None:
    """Neither keys nor channels of another app, nor what is dangerous."""
    async with opened(url) as link:
        for command in (
            ("GET", "other"),
            ("SET", "qt1:{other}:k", "1"),
            ("PUBLISH", "other", "1"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("SHUTDOWN",),
        ):
            with pytest.raises(RefusedError, match="ACL"):
                await link.command(*command)


async def test_another_app_is_out_of_reach(url: str) -> None:
    """A user of one app cannot run another."""
    broker = RedisBroker(url, KitContext("other"))
    await broker.start()
    with pytest.raises(RefusedError, match="ACL"):
        await broker.depth("default")
    await broker.stop()


class TestBroker(BrokerSuite): ...


class TestEvicts(EvictsSuite): ...


class TestResults(ResultsSuite): ...


class TestStorage(StorageSuite): ...


class TestStreams(StreamsSuite): ...


class TestGlobalConfig(GlobalConfigSuite): ...


class TestFusedSender(FusedSenderSuite): ...


class TestFusedBroker(FusedBrokerSuite): ...


class TestInspectable(InspectableSuite): ...


class TestCancels(CancelsSuite): ...


class TestUnique(UniqueSuite): ...
