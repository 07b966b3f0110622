"""A link over servers that forget, are full, fall silent, or are not the master any more: an error, then it goes on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import RefusedError, SendUnknownError, UnavailableError
from qtasks_redis._home import home_of
from qtasks_redis._scripts import Script
from qtasks_redis._wire import Connection
from qtasks_testing.kit import KitContext
from qtasks_testing.polling import eventually
from qtasks_testing.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_redis._link import Link
    from qtasks_testing import RedisServer, TcpProxy

    Opened = Callable[[str], AbstractAsyncContextManager[Link]]
    Servers = Callable[..., RedisServer]
    Proxies = Callable[[int], TcpProxy]

SAY = Script("return {KEYS[1], ARGV[1]}")
WRITE = Script("return redis.call('SET', KEYS[1] .. 'k', ARGV[1])")
FAIL = Script("return redis.call('LPUSH', KEYS[1] .. 'k', 'x')")


class Ear:
    """Collects what it hears of a channel."""

    def __init__(self) -> None:
        self.all: list[bytes | str] = []

    def heard(self, payload: bytes) -> None:
        self.all.append(payload)

    def lost(self) -> None:
        self.all.append("lost")

    def again(self) -> None:
        self.all.append("again")


async def _goes_on(link: Link, patience_s: float = 10.0) -> None:
    """Wait until the link works again."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            assert b"PONG" == await link.command("PING")
        except (UnavailableError, SendUnknownError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        else:
            return


async def _notices(link: Link) -> None:
    """Wait until the link knows that its connection is lost: these tests block its loop meanwhile."""
    await eventually(lambda: link._connection is not None and not link._connection.is_open, 10.0, "a lost connection")


# ---------------------------------------------------------------- scripts and answers


async def test_a_script_is_sent_to_a_server_that_does_not_know_it(opened: Opened, redis_server: Servers) -> None:
    """The first time, and after the server has forgotten all; else by its hash only."""
    server = redis_server()
    async with opened(server.url) as link:
        for number in range(4):
            assert [link.keys.prefix, b"%d" % number] == await link.run(SAY, number)
            if number == 1:
                server.command("SCRIPT", "FLUSH")

    calls = dict(part.split("=") for part in server.info("commandstats")["cmdstat_eval"].split(","))
    assert "2" == calls["calls"]


async def test_what_the_server_refuses_is_refused(opened: Opened, redis_server: Servers) -> None:
    """With its words, by a command and inside a script; the link goes on."""
    async with opened(redis_server().url) as link:
        assert b"OK" == await link.run(WRITE, "x")

        with pytest.raises(RefusedError, match="unknown command"):
            await link.command("NONSENSE")
        with pytest.raises(RefusedError, match="WRONGTYPE"):
            await link.run(FAIL)
        assert b"x" == await link.command("GET", link.keys.key("k"))


async def test_what_the_user_may_not_do_is_refused_by_name(opened: Opened, redis_server: Servers) -> None:
    """The error says that it is the ACL, and which command."""
    server = redis_server()
    server.command("ACL", "SETUSER", "me", "on", ">secret", "~*", "&*", "+@all", "-set")
    async with opened(f"redis://me:secret@{server.host}:{server.port}") as link:
        with pytest.raises(RefusedError, match=r"ACL.*'set'"):
            await link.command("SET", link.keys.key("k"), "1")


async def test_a_full_server_is_unavailable(opened: Opened, redis_server: Servers) -> None:
    """It names maxmemory; nothing is written, reading works, and writing does when there is room again."""
    server = redis_server(maxmemory="1")
    async with opened(server.url) as link:
        with pytest.raises(UnavailableError, match="maxmemory"):
            await link.command("SET", link.keys.key("k"), "1")
        with pytest.raises(UnavailableError, match="maxmemory"):
            await link.run(WRITE, "1")
        assert await link.command("GET", link.keys.key("k")) is None

        server.command("CONFIG", "SET", "maxmemory", "0")
        assert b"OK" == await link.run(WRITE, "1")


# ---------------------------------------------------------------- a server that goes


async def test_a_restart_costs_an_error_at_most(opened: Opened, redis_server: Servers) -> None:
    """A server that was stopped orderly has hung up: the next command connects anew, without any."""
    server = redis_server()
    async with opened(server.url) as link:
        await link.command("PING")
        server.restart()
        await _notices(link)
        assert b"PONG" == await link.command("PING")


async def test_a_server_that_is_away_is_unavailable_and_comes_back(opened: Opened, redis_server: Servers) -> None:
    """Each call fails soon; many at once knock once."""
    server = redis_server()
    async with opened(server.url) as link:
        server.kill()
        await _notices(link)
        answers = await asyncio.gather(*(link.command("PING") for _ in range(50)), return_exceptions=True)
        assert {UnavailableError} == {type(answer) for answer in answers}

        server.start()
        await _goes_on(link)
    assert int(server.info("stats")["rejected_connections"]) == 0


async def test_a_silent_server_is_unknown_after_the_timeout(opened: Opened, redis_server: Servers) -> None:
    """What was sent may be done; the connection is given up, so no late answer is taken for another's."""
    server = redis_server()
    async with opened(f"{server.url}?timeout=0.2&connect_timeout=0.2") as link:
        server.pause()
        with pytest.raises(SendUnknownError, match=r"no answer within 0\.2 s"):
            await link.command("INCR", link.keys.key("n"))
        with pytest.raises(UnavailableError, match=r"within 0\.2 s"):
            await link.command("INCR", link.keys.key("n"))

        server.resume()
        await _goes_on(link)
        assert b"1" == await link.command("GET", link.keys.key("n"))


async def test_a_long_answer_that_keeps_coming_is_waited_for(
    opened: Opened, redis_server: Servers, tcp_proxy: Proxies
) -> None:
    """The time is counted from the last piece, not from the question."""
    server = redis_server()
    proxy = tcp_proxy(server.port)
    async with opened(f"{server.url_at(proxy.host, proxy.port)}?timeout=0.4&connect_timeout=5") as link:
        await link.command("SET", link.keys.key("k"), "x" * 2_000_000)
        proxy.delay(0.02)
        assert 2_000_000 == len(await link.command("GET", link.keys.key("k")))


async def test_a_large_command_that_keeps_going_is_waited_for() -> None:
    """A slow way up is no silence, though no answer comes meanwhile."""
    size = 40_000_000
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left > 0:
            left -= len(await reader.read(1_000_000))
            await asyncio.sleep(0.02)
        writer.write(b"+OK\r\n")
        await writer.drain()
        writer.close()
        over.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1_000_000)
    port = server.sockets[0].getsockname()[1]
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection("redis://slow", 0.4), "127.0.0.1", port
    )
    began = time.monotonic()
    assert b"OK" == await connection.command("SET", "k", b"x" * size)
    assert time.monotonic() - began > 0.8  # twice the time that a silence may last
    await over.wait()
    connection.cut("the test is over")
    server.close()
    await server.wait_closed()


async def test_a_silence_with_commands_on_their_way_is_noticed(opened: Opened, redis_server: Servers) -> None:
    """However many come after it: those count for nothing as long as no answer comes."""
    server = redis_server()
    async with opened(f"{server.url}?timeout=0.3&connect_timeout=0.3") as link:
        server.pause()
        began = asyncio.get_running_loop().time()
        first = asyncio.ensure_future(link.command("PING"))
        others = []
        while not first.done():
            others.append(asyncio.ensure_future(link.command("PING")))
            await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - began < 10
        assert {SendUnknownError} == {type(one) for one in await asyncio.gather(first, return_exceptions=True)}
        server.resume()
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_lost_reply_is_unknown(opened: Opened, redis_server: Servers, tcp_proxy: Proxies) -> None:
    """It was done, and nobody knows."""
    server = redis_server()
    proxy = tcp_proxy(server.port)
    async with opened(server.url_at(proxy.host, proxy.port)) as link:
        proxy.lose_reply(b"INCR")
        with pytest.raises(SendUnknownError, match="no reply came"):
            await link.command("INCR", link.keys.key("n"))
        assert b"1" == await link.command("GET", link.keys.key("n"))


async def test_a_call_that_is_given_up_leaves_the_answers_in_order(opened: Opened, redis_server: Servers) -> None:
    """Nobody gets the answer to another's question."""
    async with opened(redis_server().url) as link:
        asked = [asyncio.ensure_future(link.command("ECHO", str(number))) for number in range(100)]
        await asyncio.sleep(0)
        for one in asked[::2]:
            one.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [b"%d" % number for number in range(1, 100, 2)] == answers[1::2]
    assert {asyncio.CancelledError} == {type(answer) for answer in answers[::2]}


async def test_a_master_that_became_a_replica_is_left(opened: Opened, redis_server: Servers) -> None:
    """Unavailable until it, or who has its name then, is a master; a connection from before is not used."""
    server = redis_server()
    async with opened(server.url) as link:
        server.command("REPLICAOF", "127.0.0.1", free_port())
        for _ in range(2):
            with pytest.raises(UnavailableError, match="replica"):
                await link.command("SET", link.keys.key("k"), "1")

        server.command("REPLICAOF", "NO", "ONE")
        await _goes_on(link)
        assert b"OK" == await link.command("SET", link.keys.key("k"), "1")


async def test_a_server_that_is_no_longer_fit_is_unavailable(opened: Opened, redis_server: Servers) -> None:
    """What would be refused at the start is waited out by who has worked already: it may be mended."""
    server = redis_server()
    async with opened(server.url) as link:
        server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        server.command("CLIENT", "KILL", "TYPE", "normal")
        await _notices(link)
        with pytest.raises(UnavailableError, match="maxmemory-policy"):
            await link.command("PING")

        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await _goes_on(link)


# ---------------------------------------------------------------- its life


async def test_a_loop_has_two_connections_however_much_it_asks(opened: Opened, redis_server: Servers) -> None:
    """One for commands; one that listens, made with the first channel."""
    server = redis_server()
    async with opened(server.url) as link:
        await asyncio.gather(*(link.command("PING") for _ in range(500)))
        assert 1 == _clients(server)
        await link.listener.listen(link.keys.channel("x"), Ear())
        assert 2 == _clients(server)
    await eventually(lambda: 0 == _clients(server), 5.0, "both are closed")


async def test_the_last_user_of_a_loop_closes_its_link(redis_server: Servers) -> None:
    """Each loop has a link of its own; a command after that is refused, not sent."""
    server = redis_server()
    home = home_of(server.url, KitContext())
    link = await home.open()
    assert link is await home.open()

    def elsewhere() -> bool:
        async def run() -> bool:
            other = await home.open()
            is_another = other is not link
            assert b"PONG" == await other.command("PING")
            await home.close()
            return is_another

        return asyncio.run(run())

    assert await asyncio.to_thread(elsewhere)
    await home.close()
    assert b"PONG" == await link.command("PING")
    await home.close()
    with pytest.raises(UnavailableError, match="stopped"):
        await link.command("PING")


async def test_who_waits_for_a_connection_is_told_of_the_stop(opened: Opened, redis_server: Servers) -> None:
    """With an error, not by being cancelled."""
    server = redis_server()
    async with opened(server.url) as link:
        server.pause()
        link._connection.cut("by the test")  # type: ignore[union-attr]
        waiting = asyncio.ensure_future(link.command("PING"))
        await asyncio.sleep(0.05)
    with pytest.raises(UnavailableError, match="stopped"):
        await waiting


# ---------------------------------------------------------------- channels


async def test_a_channel_is_heard_again_after_each_cut(opened: Opened, redis_server: Servers) -> None:
    """And whoever hears it is told that it was not, and that it is."""
    server = redis_server()
    async with opened(server.url) as link:
        ear, channel = Ear(), link.keys.channel("x")
        await link.listener.listen(channel, ear)
        expected: list[bytes | str] = []
        for word in (b"one", b"two", b"three"):
            server.command("PUBLISH", channel, word)
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            expected += [word, "lost", "again"]
            await eventually(lambda: expected == ear.all, 10.0, f"{expected}, not {ear.all}")  # noqa: B023  # awaited here


async def test_a_listening_connection_that_is_dead_is_noticed(
    opened: Opened, redis_server: Servers, tcp_proxy: Proxies
) -> None:
    """Though nothing was to be heard: it asks from time to time, and hears again through another one."""
    server = redis_server()
    proxy = tcp_proxy(server.port)
    url = f"{server.url_at(proxy.host, proxy.port)}?health_check=0.1&timeout=0.2&connect_timeout=0.5"
    async with opened(url) as link:
        ear, channel = Ear(), link.keys.channel("x")
        await link.listener.listen(channel, ear)
        proxy.swallow_replies()
        await eventually(lambda: ["lost"] == ear.all, 10.0, "the silence is noticed")
        proxy.pass_replies()
        await eventually(lambda: ["lost", "again"] == ear.all, 10.0, "it is heard again")


async def test_a_channel_of_a_server_that_is_away_is_unavailable(opened: Opened, redis_server: Servers) -> None:
    """After `connect_timeout`; the reason is told; nothing is left behind that hears later."""
    server = redis_server()
    async with opened(f"{server.url}?connect_timeout=0.3") as link:
        server.kill()
        ear, channel = Ear(), link.keys.channel("x")
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await link.listener.listen(channel, ear)

        server.start()
        other = Ear()
        async with asyncio.timeout(10.0):
            while not await _listens(link, channel, other):  # the next attempt may be further away than its timeout
                pass
        server.command("PUBLISH", channel, "x")
        await eventually(lambda: [b"x"] == other.all, 10.0, "the other hears")
        assert [] == ear.all


async def _listens(link: Link, channel: bytes, ear: Ear) -> bool:
    try:
        await link.listener.listen(channel, ear)
    except UnavailableError:
        return False
    return True


def _clients(server: RedisServer) -> int:
    """Return how many there are, without the one that asks."""
    return int(server.info("clients")["connected_clients"]) - 1
