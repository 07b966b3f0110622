"""Watches over connections that break and servers that forget, and how little they ask when nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import pytest

from qtasks_core.errors import SendUnknownError
from qtasks_redis import RedisGlobalConfig
from qtasks_testing.kit import KitContext
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from qtasks_core.contract import Versioned
    from qtasks_testing import RedisServer, TcpProxy

PATIENCE_S = 15.0


@contextlib.asynccontextmanager
async def _started(url: str, context: KitContext | None = None) -> AsyncIterator[RedisGlobalConfig]:
    config = RedisGlobalConfig(url, context or KitContext())
    await config.start()
    try:
        yield config
    finally:
        await config.stop()


@contextlib.asynccontextmanager
async def _watching(config: RedisGlobalConfig, prefix: str = "") -> AsyncIterator[dict[str, bytes]]:
    """Yield what a watcher knows, kept up to date."""
    known: dict[str, bytes] = {}

    async def collect() -> None:
        changes = cast("AsyncGenerator[tuple[str, Versioned], None]", config.watch(prefix))
        async with aclosing(changes):
            async for name, found in changes:
                if found.value is None:
                    known.pop(name, None)
                else:
                    known[name] = found.value

    task = asyncio.ensure_future(collect())
    try:
        yield known
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(known: dict[str, bytes], expected: dict[str, bytes]) -> None:
    await eventually(lambda: expected == known, PATIENCE_S, f"{expected}, not {known}")


async def _put(config: RedisGlobalConfig, key: str, value: bytes | None) -> None:
    """Write, as often as the server is away."""
    await eventually(lambda: _can_put(config, key, value), PATIENCE_S, "it is written")


async def _can_put(config: RedisGlobalConfig, key: str, value: bytes | None) -> bool:
    try:
        await config.put(key, value)
    except Exception:  # noqa: BLE001  # tried again until the time is over
        return False
    return True


async def test_what_changes_while_a_watch_is_cut_is_seen(
    redis_server: Callable[..., RedisServer], tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    """Written, changed and deleted meanwhile: after the reconnect it begins from the start."""
    server = redis_server()
    proxy = tcp_proxy(server.port)
    context = KitContext()
    far = server.url_at(proxy.host, proxy.port)
    async with (
        _started(server.url, context.restarted()) as near,
        _started(far, context) as config,
        _watching(config) as known,
    ):
        for key in ("stays", "changes", "goes"):
            await near.put(key, b"1")
        await _until(known, {"stays": b"1", "changes": b"1", "goes": b"1"})
        proxy.refuse()
        proxy.cut()
        await near.put("changes", b"2")
        await near.put("goes", None)
        await near.put("comes", b"1")
        proxy.accept()

        await _until(known, {"stays": b"1", "changes": b"2", "comes": b"1"})


async def test_a_watch_follows_a_server_that_has_forgotten_all(redis_server: Callable[..., RedisServer]) -> None:
    """A restart without persistence: what was there is gone, and revisions begin anew; changes are seen as before."""
    server = redis_server()
    async with _started(server.url) as config, _watching(config) as known:
        for number in range(5):
            await config.put("k", b"%d" % number)
        await config.put("gone", b"1")
        await _until(known, {"k": b"4", "gone": b"1"})

        server.restart()
        await _until(known, {})
        await _put(config, "k", b"new")
        await _until(known, {"k": b"new"})


async def test_what_expires_goes_from_a_watch(redis_server: Callable[..., RedisServer]) -> None:
    """Though Redis tells nobody of it; what is renewed stays."""
    server = redis_server()
    async with _started(server.url) as config, _watching(config) as known:
        await config.put("dies", b"1", ttl_s=0.3)
        await config.put("renewed", b"1", ttl_s=0.3)
        await _until(known, {"dies": b"1", "renewed": b"1"})
        await config.put("renewed", b"2", ttl_s=60.0)

        await _until(known, {"renewed": b"2"})
        assert b"2" == (await config.get("renewed")).value


async def test_an_idle_watch_asks_for_nothing(redis_server: Callable[..., RedisServer]) -> None:
    """But for a PING each `health_check`."""
    server = redis_server()
    async with _started(server.url) as config, _watching(config) as known:
        await config.put("k", b"1", ttl_s=600.0)
        await _until(known, {"k": b"1"})

        def commands() -> int:
            return int(server.info("stats")["total_commands_processed"])

        before = commands()
        await asyncio.sleep(0.5)
        assert 1 == commands() - before  # the INFO of this test


async def test_a_comparison_whose_reply_is_lost_is_unknown(
    redis_server: Callable[..., RedisServer], tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    """It may have been written: to call that "not written" would leave a lock that nobody holds."""
    server = redis_server()
    proxy = tcp_proxy(server.port)
    async with _started(server.url_at(proxy.host, proxy.port)) as config:
        await config.put("other", b"1")  # the server knows the script
        proxy.lose_reply(b"needle")
        with pytest.raises(SendUnknownError):
            await config.cas("lock", b"needle", 0)
        assert b"needle" == (await config.get("lock")).value


async def test_two_watches_of_one_component_end_one_by_one(redis_server: Callable[..., RedisServer]) -> None:
    """The second hears on when the first is over; the server is listened to once."""
    server = redis_server()
    async with _started(server.url) as config, _watching(config) as known:
        async with _watching(config, "k") as other:
            await config.put("k", b"1")
            await _until(other, {"k": b"1"})
        await config.put("k", b"2")
        await _until(known, {"k": b"2"})

        channels: Any = server.command("PUBSUB", "NUMSUB", config.link.keys.channel("config"))
        assert 1 == channels[1]
