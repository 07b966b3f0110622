"""Connecting: to the server or the master that Sentinel names, over TLS, with login, and checks of what is there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import hiredis

from qtasks_core.errors import ConfigError, SendUnknownError, UnavailableError
from qtasks_redis._faults import code_of, translate
from qtasks_redis._wire import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_redis._location import Location

__all__ = ["dial"]

OLDEST = (7, 0)
SAFE_POLICY = "noeviction"
IDLE_S, PROBE_S, PROBES = 30, 10, 3  # a dead peer is found within a minute


async def dial(location: Location, pushed: Callable[[list[Any]], None] | None = None) -> Connection:
    """Return a connection to the master, logged in, its database chosen.

    Parameters:
        location: Where it is.
        pushed: Gets what answers no command.

    Raises:
        ConfigError: The server is too old, evicts, is a cluster, or refuses the login.
        UnavailableError: It cannot be reached, or is a replica.
    """
    timeout_s = location.options.connect_timeout
    try:
        async with asyncio.timeout(timeout_s):
            if location.service is None:
                return await _dial_one(location, pushed)
            return await _dial_master(location, pushed)
    except TimeoutError:
        hint = "; does it speak TLS?" if location.tls else ""
        raise UnavailableError(f"{location.printed}: no connection within {timeout_s:g} s{hint}") from None


async def _dial_master(location: Location, pushed: Callable[[list[Any]], None] | None) -> Connection:
    """Connect to the master that the first Sentinel names which answers."""
    each_s = location.options.connect_timeout / (len(location.addresses) + 1)  # the rest is for the master
    failures = []
    for host, port in location.addresses:
        try:
            async with asyncio.timeout(each_s):
                address = await _ask_sentinel(location, host, port)
        except (UnavailableError, SendUnknownError, TimeoutError) as error:
            failures.append(f"{host}:{port}: {str(error) or 'no answer'}")
            continue
        return await _dial_one(location, pushed, address)
    raise UnavailableError(f"{location.printed}: no Sentinel knows the master: {'; '.join(failures)}")


async def _ask_sentinel(location: Location, host: str, port: int) -> tuple[str, int]:
    options = location.options
    sentinel = await _connect(location, (host, port), None)
    try:
        await _greet(sentinel, location, options.sentinel_user, options.sentinel_password)
        answer = await _ask(sentinel, location, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", str(location.service))
    finally:
        sentinel.cut("it was asked")
    if answer is None:
        raise UnavailableError(f"it knows no service {location.service!r}")
    return answer[0].decode(), int(answer[1])


async def _dial_one(
    location: Location, pushed: Callable[[list[Any]], None] | None, address: tuple[str, int] | None = None
) -> Connection:
    connection = await _connect(location, address, pushed)
    try:
        hello = await _greet(connection, location, location.user, location.password)
        _check_server(location, hello)
        if location.options.db:
            await _ask(connection, location, "SELECT", location.options.db)
        if not location.options.allow_eviction:
            _check_policy(location, await _ask(connection, location, "INFO", "memory"))
    except BaseException:
        connection.cut("it was no use")
        raise
    return connection


async def _connect(
    location: Location, address: tuple[str, int] | None, pushed: Callable[[list[Any]], None] | None
) -> Connection:
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return Connection(location.printed, location.options.timeout, pushed)

    try:
        if location.path is not None:
            _, connection = await loop.create_unix_connection(make, location.path)
            return connection
        host, port = address or location.addresses[0]
        context = _tls_of(location) if location.tls else None
        transport, connection = await loop.create_connection(make, host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(f"{location.printed}: its certificate is not trusted: {error.verify_message}") from error
    except OSError as error:
        raise UnavailableError(f"{location.printed} cannot be reached: {error}") from error
    if location.options.keepalive:
        _keep_alive(transport.get_extra_info("socket"))
    return connection


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", IDLE_S), ("TCP_KEEPINTVL", PROBE_S), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _tls_of(location: Location) -> ssl.SSLContext:
    options = location.options
    try:
        context = ssl.create_default_context(cafile=options.ca)
        context.check_hostname = options.check_hostname
        if not options.verify:
            context.verify_mode = ssl.CERT_NONE
        if options.cert is not None:
            context.load_cert_chain(options.cert, options.key, password="")  # never asks the terminal
    except (OSError, ssl.SSLError) as error:
        text = f"{location.printed}: options ca, cert, key: expected files in PEM format: {error}"
        raise ConfigError(text) from error
    return context


async def _greet(connection: Connection, location: Location, user: str | None, password: str | None) -> dict[Any, Any]:
    """Log in, and return what the server says of itself."""
    args: list[str] = ["HELLO", "3"]
    if password is not None:
        args += ["AUTH", user or "default", password]
    if location.options.client_name is not None:
        args += ["SETNAME", location.options.client_name]
    try:
        hello: dict[Any, Any] = await connection.command(*args)
    except hiredis.ReplyError as error:
        if code_of(error) in {"NOAUTH", "WRONGPASS"}:
            raise ConfigError(str(translate(error, location.printed))) from error
        if code_of(error) == "ERR" and "unknown command" in str(error):
            raise ConfigError(f"{location.printed}: expected Redis 7.0 or newer; it knows no HELLO") from error
        raise UnavailableError(str(translate(error, location.printed))) from error
    except SendUnknownError as error:
        raise UnavailableError(str(error)) from error
    return hello


def _check_server(location: Location, hello: dict[Any, Any]) -> None:
    version = hello.get(b"version", b"0").decode()
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdecimal())
    if numbers < OLDEST:
        raise ConfigError(f"{location.printed}: expected Redis 7.0 or newer, got {version}")
    if hello.get(b"mode") == b"cluster":
        raise ConfigError(f"{location.printed}: expected one server, or Sentinel, got a member of a cluster")
    if hello.get(b"role") != b"master":
        raise UnavailableError(f"{location.printed} is a replica; expected the master")


def _check_policy(location: Location, info: Any) -> None:
    text = info.decode() if isinstance(info, bytes) else str(info)
    policies = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("maxmemory_policy:")]
    if policies and policies[0] != SAFE_POLICY:
        raise ConfigError(
            f"{location.printed}: maxmemory-policy: expected {SAFE_POLICY}, got {policies[0]}, which throws tasks away "
            f"when memory is full: `CONFIG SET maxmemory-policy {SAFE_POLICY}`, or accept it with ?allow_eviction=true"
        )


async def _ask(connection: Connection, location: Location, *args: str | int) -> Any:
    try:
        return await connection.command(*args)
    except hiredis.ReplyError as error:
        fault = translate(error, location.printed)
        raise (fault if isinstance(fault, UnavailableError) else ConfigError(str(fault))) from error
    except SendUnknownError as error:
        raise UnavailableError(str(error)) from error
