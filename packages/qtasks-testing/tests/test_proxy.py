"""The proxy of the kit, tried with a server that answers each line with the same line."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from qtasks_testing import TcpProxy, eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Echo(socketserver.ThreadingTCPServer):
    """Answers lines, and knows what it has read."""

    daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.rests: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(socketserver.StreamRequestHandler):
    server: Echo

    def handle(self) -> None:
        try:
            while (line := self.rfile.readline()).endswith(b"\n"):
                self.server.lines.append(line)
                self.wfile.write(line)
        except ConnectionError:
            line = b""
        self.server.rests.append(line)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo, tcp_proxy: Callable[..., TcpProxy]) -> TcpProxy:
    return tcp_proxy(echo.server_address[1])


class Client:
    """A connection through the proxy."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.socket = socket.create_connection((proxy.host, proxy.port), 5)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def ask(self, line: bytes) -> bytes:
        """Send a line and return the answer, or what there is of it."""
        try:
            self.socket.sendall(line)
            return self.file.readline()
        except ConnectionError:
            return b"reset"


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[Client]:
    with Client(proxy) as client:
        yield client


def test_everything_passes(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """Large and small, in both directions, and the end of a connection too."""
    large = b"x" * 1_000_000 + b"\n"
    assert [b"a\n", large] == [client.ask(b"a\n"), client.ask(large)]
    assert 1 == proxy.connections
    with Client(proxy) as other:
        assert b"b\n" == other.ask(b"b\n")
        assert 2 == proxy.connections
    eventually_sync(lambda: 1 == proxy.connections, what="the end of one")
    assert [b"a\n", large, b"b\n"] == echo.lines
    assert repr(proxy).startswith(f"<TcpProxy port {proxy.port} to 127.0.0.1:{echo.server_address[1]}, 1 conn")


def test_all_connections_are_cut_and_new_ones_are_welcome(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """Both sides notice at once."""
    with Client(proxy) as other:
        client.ask(b"a\n")
        other.ask(b"b\n")
        assert 2 == proxy.cut()
        assert [b"reset", b"reset"] == [client.ask(b"c\n"), other.ask(b"d\n")]
    eventually_sync(lambda: [b"", b""] == echo.rests, what="the server has noticed")
    with Client(proxy) as third:
        assert b"e\n" == third.ask(b"e\n")
    assert [b"a\n", b"b\n", b"e\n"] == echo.lines


def test_new_connections_are_refused_while_open_ones_stay(client: Client, proxy: TcpProxy) -> None:
    """Until they are accepted again, on the same port."""
    client.ask(b"a\n")
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    assert b"b\n" == client.ask(b"b\n")
    proxy.accept()
    with Client(proxy) as other:
        assert b"c\n" == other.ask(b"c\n")


def test_a_server_that_is_away_is_a_connection_that_ends(proxy: TcpProxy, echo: Echo) -> None:
    """The client is cut, as the proxy cannot refuse any more."""
    echo.shutdown()
    echo.server_close()
    with Client(proxy) as client:
        assert client.ask(b"a\n") in {b"", b"reset"}


def test_what_is_held_arrives_later(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """Nothing passes, nothing is lost."""
    client.ask(b"a\n")
    proxy.hold()
    client.socket.settimeout(0.2)
    client.socket.sendall(b"b\n")
    with pytest.raises(TimeoutError):
        client.socket.recv(10)
    assert [b"a\n"] == echo.lines
    proxy.release()
    client.socket.settimeout(5)
    assert b"b\n" == client.socket.recv(10)


def test_what_is_delayed_arrives_later(client: Client, proxy: TcpProxy) -> None:
    """The delay counts for the request and for the answer."""
    proxy.delay(0.2)
    began = time.monotonic()
    assert b"a\n" == client.ask(b"a\n")
    assert 0.4 <= time.monotonic() - began
    proxy.delay(0)
    assert b"b\n" == client.ask(b"b\n")


def test_swallowed_replies_are_lost_and_their_connections_cut(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """The server has what was sent; who has lost an answer is cut when answers pass again, others are not."""
    with Client(proxy) as other:
        assert b"a\n" == other.ask(b"a\n")
        proxy.swallow_replies()
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.ask(b"b\n")
        assert [b"a\n", b"b\n"] == echo.lines
        proxy.pass_replies()
        with pytest.raises(ConnectionError):
            client.socket.recv(10)
        assert b"c\n" == other.ask(b"c\n")


@pytest.mark.parametrize("after_bytes", [0, 3, 100_000])
def test_a_request_is_cut_behind_a_pattern(client: Client, proxy: TcpProxy, echo: Echo, after_bytes: int) -> None:
    """The server gets what is before the cut, and no more; it happens once, on one connection."""
    cut = proxy.cut_requests(b"good", after_bytes)
    with Client(proxy) as other:
        assert b"a\n" == other.ask(b"a\n")
        rest = b"x" * 200_000 + b"\n"
        assert client.ask(b"a good " + rest) in {b"", b"reset"}
        cut.wait()
        expected = (b"a good " + rest)[: 6 + after_bytes]
        eventually_sync(lambda: [expected] == echo.rests, what="what the server got")
        assert b"a good one\n" == other.ask(b"a good one\n")
    assert cut.happened


def test_a_pattern_is_found_where_it_comes_in_pieces(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """Each byte may be a packet of its own."""
    cut = proxy.cut_requests(b"good")
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"a goo":
        client.socket.sendall(bytes([byte]))
        time.sleep(0.02)  # so that they are packets
    assert not cut.happened
    client.ask(b"d\n")
    cut.wait()
    eventually_sync(lambda: [b"a good"] == echo.rests, what="what the server got")


def test_a_reply_is_cut_behind_some_bytes(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """Without a pattern the next bytes are counted; the server has done what it was told."""
    cut = proxy.cut_replies(after_bytes=3)
    assert b"abc" == client.ask(b"abcdef\n")
    cut.wait()
    assert [b"abcdef\n"] == echo.lines


def test_a_reply_is_lost_when_the_server_has_answered(client: Client, proxy: TcpProxy, echo: Echo) -> None:
    """The request passes, the answer does not, and the connection is reset."""
    cut = proxy.lose_reply(b"now")
    assert b"a\n" == client.ask(b"a\n")
    assert b"reset" == client.ask(b"now\n")
    cut.wait()
    assert [b"a\n", b"now\n"] == echo.lines
    assert "happened" in repr(cut)


async def test_clients_on_the_tests_own_loop(proxy: TcpProxy) -> None:
    """The proxy has a loop of its own, so its methods may be called beside an await."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"a\n")
    assert b"a\n" == await reader.readline()
    assert 1 == proxy.cut()
    with pytest.raises(ConnectionError):
        await reader.readline()
    writer.close()


def test_a_cut_that_does_not_come_is_told(proxy: TcpProxy) -> None:
    """The error says what was waited for; a pattern has a bound."""
    with pytest.raises(AssertionError, match=r"ProxyCut of requests at b'never' \+ 0 bytes, to come"):
        proxy.cut_requests(b"never").wait(0.01)
    with pytest.raises(ValueError, match="up to 1024 bytes, got 2000"):
        proxy.lose_reply(b"x" * 2000)


def test_a_proxy_is_closed_once(proxy: TcpProxy, client: Client) -> None:
    """Closing cuts; again it does nothing."""
    client.ask(b"a\n")
    proxy.close()
    assert b"reset" == client.ask(b"b\n")
    proxy.close()
