"""Servers of the kit, tried with a real Redis."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qtasks_testing import RedisReplyError, RedisSentinel, RedisServer, ServerFailedError, eventually_sync
from qtasks_testing.resp import call_redis
from qtasks_testing.servers import free_port, missing, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_shared_server_answers(redis_url: str) -> None:
    """What `redis_url` names is a Redis."""
    address = redis_url.rpartition("@")[2].removeprefix("redis://").partition("/")[0]
    host, _, port = address.partition(":")
    commands = ("PING",), ("ECHO", "a"), ("EVAL", "return {1, 'b', false, {}}", 0)
    assert [b"PONG", b"a", [1, b"b", None, []]] == call_redis(host, int(port), *commands)


def test_what_was_written_is_there_after_a_kill(redis_server: Callable[..., RedisServer]) -> None:
    """With appendfsync always nothing acknowledged is lost; port and folder stay the same."""
    server = redis_server(appendonly="yes", appendfsync="always")
    port, pid = server.port, server.pid
    server.command("SET", "a", b"\x00\xff")
    server.kill()
    assert -signal.SIGKILL == server.exit_code
    assert not server.answers()
    server.start()

    assert b"\x00\xff" == server.command("GET", "a")
    assert port == server.port
    assert pid != server.pid
    assert "1" == server.info("persistence")["aof_enabled"]


def test_a_server_is_stopped_and_restarted(redis_server: Callable[..., RedisServer]) -> None:
    """Without a disk it comes back empty."""
    server = redis_server()
    server.command("SET", "a", "1")
    assert server.restart().alive
    assert None is server.command("GET", "a")
    assert 0 == server.stop()
    assert not server.alive


def test_a_paused_server_does_not_answer(redis_server: Callable[..., RedisServer]) -> None:
    """Its port accepts, and nothing comes back until it goes on."""
    server = redis_server()
    server.pause()
    with pytest.raises(TimeoutError):
        call_redis(server.host, server.port, ("PING",), timeout_s=0.2)
    server.resume()
    assert server.answers()


def test_options_and_a_password_are_passed_on(redis_server: Callable[..., RedisServer]) -> None:
    """Options are those of redis.conf; who does not know the password is told."""
    server = redis_server(password="secret", maxmemory="20mb", maxmemory_policy="noeviction")
    assert [b"maxmemory", b"20971520"] == server.command("CONFIG", "GET", "maxmemory")
    assert f"redis://:secret@127.0.0.1:{server.port}/0" == server.url
    assert "redis://:secret@there:1/0" == server.url_at("there", 1)
    with pytest.raises(RedisReplyError, match="NOAUTH"):
        call_redis(server.host, server.port, ("PING",))


def test_a_server_speaks_tls_and_listens_on_a_socket(redis_server: Callable[..., RedisServer]) -> None:
    """With `tls` it has a certificate for loopback; the file of the socket is in its folder."""
    server = redis_server(tls=True, unix_socket=True)
    assert server.answers()
    assert f"rediss://127.0.0.1:{server.port}/0" == server.url
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.unix_socket_path))
        connection.sendall(b"PING\r\n")
        assert b"+PONG\r\n" == connection.recv(100)


def test_an_option_that_redis_refuses_is_shown(redis_server: Callable[..., RedisServer]) -> None:
    """The error has the end of the server's log."""
    with pytest.raises(ServerFailedError, match=r"(?s)ended with 1 before it served.*Bad directive"):
        redis_server(no_such_option="yes")


def test_a_sentinel_makes_the_replica_the_master(redis_server: Callable[..., RedisServer], tmp_path: Path) -> None:
    """What the replica had when the master was killed is kept, and the sentinel names the new one."""
    master = redis_server(password="secret")
    replica = redis_server(password="secret", replica_of=master)
    replica.wait_synced()
    with RedisSentinel(tmp_path / "sentinel", master) as sentinel:
        sentinel.wait_watching()
        assert f"redis+sentinel://:secret@127.0.0.1:{sentinel.port}/mymaster" == sentinel.url
        master.command("SET", "a", "1")
        assert 1 == master.command("WAIT", 1, 5000)
        master.kill()
        eventually_sync(lambda: replica.port == sentinel.master_port(), 30, "a failover")
        eventually_sync(lambda: "master" == replica.info("replication")["role"], 30, "the new master")

    assert b"1" == replica.command("GET", "a")


def test_a_free_port_is_none_of_those_for_outgoing_connections() -> None:
    """A client that knocks at the port of a dead server can never be connected to itself."""
    assert {True} == {20_000 <= free_port() < 30_000 for _ in range(20)}


def test_without_a_server_a_test_is_skipped_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says how to get it."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-server is not installed.*sudo apt install a-package"):
        program("no-such-server", "a-package")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="it is away; in CI"):
        missing("it is away")


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """However that one dies."""
    program("redis-server", "redis-server")
    code = (
        "import os, signal, sys\nfrom qtasks_testing import RedisServer\n"
        "print(RedisServer(sys.argv[1]).start().pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "redis")], stdout=subprocess.PIPE, check=False)
    assert -signal.SIGKILL == done.returncode
    pid = int(done.stdout)

    def is_gone() -> bool:
        shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
        return not shown or shown.startswith(b"Z")  # nobody may have reaped it yet

    eventually_sync(is_gone, 10, "the server is dead")


def test_a_server_that_was_closed_is_gone(tmp_path: Path) -> None:
    """The end of the block kills it, paused or not."""
    with RedisServer(tmp_path / "redis") as server:
        with pytest.raises(ServerFailedError, match="runs already"):
            server.start()
        server.pause()
    server.close()
    assert (False, False) == (server.alive, server.answers())
