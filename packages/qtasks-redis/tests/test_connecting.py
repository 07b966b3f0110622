"""Connecting to real servers: every way in, and every reason not to be let in."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.errors import ConfigError, UnavailableError
from qtasks_testing import RedisSentinel
from qtasks_testing.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from qtasks_redis._link import Link
    from qtasks_testing import RedisServer

    Opened = Callable[[str], AbstractAsyncContextManager[Link]]
    Servers = Callable[..., RedisServer]


async def _set(opened: Opened, url: str) -> bytes:
    """Write a key, by a command and by a script's connection; return its name."""
    async with opened(url) as link:
        key = link.keys.key("k")
        assert b"OK" == await link.command("SET", key, "1")
    return key


# ---------------------------------------------------------------- ways in


async def test_a_password_lets_in(opened: Opened, redis_server: Servers) -> None:
    """With the characters that a URL has to escape."""
    server = redis_server(password="p@ss:w/%")
    url = f"redis://:p%40ss%3Aw%2F%25@{server.host}:{server.port}/0"

    assert b"1" == server.command("GET", await _set(opened, url))


async def test_a_user_of_the_acl_is_let_in(opened: Opened, redis_server: Servers) -> None:
    """By name and password."""
    server = redis_server()
    server.command("ACL", "SETUSER", "me", "on", ">secret", "~*", "&*", "+@all")

    async with opened(f"redis://me:secret@{server.host}:{server.port}") as link:
        assert b"me" == await link.command("ACL", "WHOAMI")


async def test_each_database_is_a_place_of_its_own(opened: Opened, redis_server: Servers) -> None:
    """Also for channels, which Redis itself shares between its databases."""
    server = redis_server()
    key = await _set(opened, f"redis://{server.host}:{server.port}/3")

    assert 0 == server.command("EXISTS", key)
    async with opened(f"redis://{server.host}:{server.port}?db=3") as three, opened(server.url) as zero:
        assert b"1" == await three.command("GET", key)
        assert three.keys.channel("x") != zero.keys.channel("x")


async def test_a_connection_has_a_name(opened: Opened, redis_server: Servers) -> None:
    """That CLIENT LIST shows."""
    server = redis_server()
    async with opened(f"{server.url}?client_name=shop"):
        assert b" name=shop " in server.command("CLIENT", "LIST")


@pytest.mark.parametrize("scheme", ["unix", "redis+unix"])
async def test_a_socket_of_the_same_machine_is_a_way_in(opened: Opened, redis_server: Servers, scheme: str) -> None:
    """With password and database."""
    server = redis_server(unix_socket=True, password="secret")
    key = await _set(opened, f"{scheme}://:secret@{server.unix_socket_path}?db=2")

    async with opened(f"redis://:secret@{server.host}:{server.port}/2") as link:
        assert b"1" == await link.command("GET", key)


# ---------------------------------------------------------------- TLS


async def test_tls_trusts_the_authority_that_it_is_given(opened: Opened, redis_server: Servers) -> None:
    """And compares the name: 127.0.0.1 is in the certificate."""
    server = redis_server(tls=True)

    assert b"1" == server.command("GET", await _set(opened, f"{server.url}?ca={server.certificate}"))


async def test_tls_refuses_an_authority_that_it_does_not_know(opened: Opened, redis_server: Servers) -> None:
    """For good: trying again would not help."""
    server = redis_server(tls=True)

    with pytest.raises(ConfigError, match="certificate is not trusted"):
        await _set(opened, server.url)


async def test_tls_refuses_the_certificate_of_another_host(
    opened: Opened, redis_server: Servers, tmp_path: Path
) -> None:
    """Unless it is told not to look at names, or to look at nothing."""
    certificate = _new_certificate(tmp_path, "elsewhere.example")
    key = certificate.with_suffix(".key")
    port = free_port()
    server = redis_server(tls_port=port, tls_cert_file=certificate, tls_key_file=key, tls_auth_clients="no")
    url = f"rediss://{server.host}:{port}?ca={certificate}"

    with pytest.raises(ConfigError, match="certificate is not trusted"):
        await _set(opened, url)
    await _set(opened, f"{url}&check_hostname=false")
    await _set(opened, f"rediss://{server.host}:{port}?verify=false")


async def test_tls_shows_a_certificate_of_its_own(opened: Opened, redis_server: Servers, tmp_path: Path) -> None:
    """Where the server wants one of its clients; without it nobody is let in."""
    mine = _new_certificate(tmp_path, "localhost")
    port = free_port()
    server = redis_server(
        tls_port=port, tls_cert_file=mine, tls_key_file=mine.with_suffix(".key"), tls_ca_cert_file=mine
    )
    url = f"rediss://{server.host}:{port}?ca={mine}&check_hostname=false"

    await _set(opened, f"{url}&cert={mine}&key={mine.with_suffix('.key')}")
    with pytest.raises(UnavailableError):
        await _set(opened, url)


async def test_a_file_that_is_no_certificate_is_refused(opened: Opened, redis_server: Servers, tmp_path: Path) -> None:
    """With the options that it may be."""
    server = redis_server(tls=True)
    file = tmp_path / "empty.pem"
    file.touch()

    with pytest.raises(ConfigError, match="options ca, cert, key: expected files in PEM format"):
        await _set(opened, f"{server.url}?ca={file}")


async def test_one_side_without_tls_is_told(opened: Opened, redis_server: Servers) -> None:
    """A server that speaks none waits for more of what it cannot read; the error asks the right question."""
    plain, safe = redis_server(), redis_server(tls=True)

    with pytest.raises(UnavailableError, match=r"within 0\.3 s; does it speak TLS\?"):
        await _set(opened, plain.url.replace("redis:", "rediss:") + "?connect_timeout=0.3")
    with pytest.raises(UnavailableError, match="no reply came"):
        await _set(opened, safe.url.replace("rediss:", "redis:"))


# ---------------------------------------------------------------- Sentinel


async def test_sentinels_name_the_master(opened: Opened, redis_server: Servers, tmp_path: Path) -> None:
    """The first that answers; those before it may be away. They and the server have passwords of their own."""
    server = redis_server(password="secret")
    with RedisSentinel(tmp_path / "sentinel", server, password="hidden") as sentinel:
        hosts = f"127.0.0.1:{free_port()},{sentinel.host}:{sentinel.port}"
        url = f"redis+sentinel://:secret@{hosts}/{sentinel.name}/1?sentinel_password=hidden"

        key = await _set(opened, url)
        with pytest.raises(UnavailableError, match="it knows no service 'other'"):
            await _set(opened, url.replace("/mymaster/", "/other/"))
        with pytest.raises(ConfigError, match="password"):
            await _set(opened, url.replace("hidden", "wrong"))

    assert b"1" == await _get(opened, f"redis://:secret@{server.host}:{server.port}/1", key)


async def test_sentinels_are_asked_over_tls(opened: Opened, redis_server: Servers, tmp_path: Path) -> None:
    """As the server itself."""
    server = redis_server(tls=True)
    certificate = server.certificate
    assert certificate is not None
    sentinel = RedisSentinel(tmp_path / "sentinel", server)
    sentinel.certificate = certificate
    file = sentinel.folder / "sentinel.conf"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("port ")]
    lines += ["port 0", f"tls-port {sentinel.port}", "tls-auth-clients no", "tls-replication yes"]
    lines += [f"tls-cert-file {certificate}", f"tls-key-file {certificate.with_suffix('.key')}"]
    lines += [f"tls-ca-cert-file {certificate}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with sentinel:
        url = f"rediss+sentinel://{sentinel.host}:{sentinel.port}/{sentinel.name}"

        assert b"1" == server.command("GET", await _set(opened, f"{url}?ca={certificate}"))
        with pytest.raises(ConfigError, match="certificate is not trusted"):
            await _set(opened, url)


async def _get(opened: Opened, url: str, key: bytes) -> Any:
    async with opened(url) as link:
        return await link.command("GET", key)


# ---------------------------------------------------------------- reasons not to be let in


@pytest.mark.parametrize("user", ["", ":wrong@", "nobody:secret@"])
async def test_a_wrong_password_is_a_fault_of_the_set_up(opened: Opened, redis_server: Servers, user: str) -> None:
    """To try again would not help; the password is not printed."""
    server = redis_server(password="secret")

    with pytest.raises(ConfigError, match="password") as caught:
        await _set(opened, f"redis://{user}{server.host}:{server.port}")
    assert "wrong" not in str(caught.value)


async def test_a_database_that_is_not_there_is_a_fault_of_the_set_up(opened: Opened, redis_server: Servers) -> None:
    """With the words of the server."""
    server = redis_server(databases=4)

    with pytest.raises(ConfigError, match="out of range"):
        await _set(opened, f"redis://{server.host}:{server.port}/4")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused(opened: Opened, redis_server: Servers, policy: str) -> None:
    """It throws tasks, or what is known of them, away; an option accepts that."""
    server = redis_server(maxmemory_policy=policy)

    with pytest.raises(ConfigError, match=f"maxmemory-policy: expected noeviction, got {policy}"):
        await _set(opened, server.url)
    await _set(opened, f"{server.url}?allow_eviction=true")


async def test_a_user_who_may_not_look_at_the_policy_is_told(opened: Opened, redis_server: Servers) -> None:
    """INFO is one of the commands that a user needs."""
    server = redis_server()
    server.command("ACL", "SETUSER", "me", "on", ">secret", "~*", "&*", "+@all", "-info")

    with pytest.raises(ConfigError, match="info"):
        await _set(opened, f"redis://me:secret@{server.host}:{server.port}")


async def test_a_replica_is_unavailable(opened: Opened, redis_server: Servers) -> None:
    """Perhaps it is the master soon."""
    master = redis_server()
    replica = redis_server(replica_of=master)

    with pytest.raises(UnavailableError, match="is a replica; expected the master"):
        await _set(opened, replica.url)


async def test_a_member_of_a_cluster_is_refused(opened: Opened, redis_server: Servers) -> None:
    """Its keys may be elsewhere."""
    server = redis_server(cluster_enabled="yes", cluster_port=free_port())

    with pytest.raises(ConfigError, match="cluster"):
        await _set(opened, server.url)


async def test_nobody_there_is_unavailable(opened: Opened, tmp_path: Path) -> None:
    """A closed port, a socket that is not there, a host without a name."""
    for url in (f"redis://127.0.0.1:{free_port()}", f"unix://{tmp_path}/none.sock", "redis://no.such.host.invalid"):
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await _set(opened, url)


async def test_a_server_with_too_many_clients_is_unavailable(opened: Opened, redis_server: Servers) -> None:
    """It says so, and hangs up."""
    server = redis_server(maxclients=1)
    async with opened(server.url):
        with pytest.raises(UnavailableError):
            await _set(opened, server.url)


# ---------------------------------------------------------------- what is no Redis of today


async def test_a_server_that_says_nothing_is_given_up(opened: Opened) -> None:
    """After `connect_timeout`."""
    async with _answering(None) as port:
        with pytest.raises(UnavailableError, match=r"no connection within 0\.2 s"):
            await asyncio.wait_for(_set(opened, f"redis://127.0.0.1:{port}?connect_timeout=0.2"), 5.0)


@pytest.mark.parametrize("version", ["6.2.14", "4.0.9"])
async def test_an_old_server_is_refused(opened: Opened, version: str) -> None:
    """With the version that is expected: 7.0."""
    answer = f"%2\r\n$7\r\nversion\r\n${len(version)}\r\n{version}\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
    async with _answering(answer.encode()) as port:
        with pytest.raises(ConfigError, match=f"expected Redis 7.0 or newer, got {version}"):
            await _set(opened, f"redis://127.0.0.1:{port}")


async def test_a_server_that_knows_no_hello_is_refused(opened: Opened) -> None:
    """It is older still."""
    async with _answering(b"-ERR unknown command `HELLO`\r\n") as port:
        with pytest.raises(ConfigError, match=r"expected Redis 7\.0 or newer"):
            await _set(opened, f"redis://127.0.0.1:{port}")


async def test_something_else_than_redis_is_unavailable(opened: Opened) -> None:
    """It does not speak the protocol."""
    async with _answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(UnavailableError, match="not the protocol of Redis"):
            await _set(opened, f"redis://127.0.0.1:{port}")


@contextlib.asynccontextmanager
async def _answering(answer: bytes | None) -> AsyncIterator[int]:
    """Listen on a port and give one answer to whatever is asked."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        if answer is not None:
            writer.write(answer)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0)


def _new_certificate(folder: Path, name: str) -> Path:
    """Make a certificate that is its own authority."""
    path = folder / f"{name}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(
        [*words, "-keyout", str(path.with_suffix(".key")), "-out", str(path)], check=True, capture_output=True
    )
    return path
