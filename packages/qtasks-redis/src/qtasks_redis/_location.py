"""Where the server is, and how to talk to it: from a URL to settings that were checked."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from qtasks_core.errors import ConfigError
from qtasks_core.naming import mask_url
from qtasks_redis._options import Options, read_options

__all__ = ["Location", "locate"]

EXPECTED = {
    "tcp": "expected redis://[[user]:password@]host[:port][/db][?option=value], or rediss:// for TLS",
    "sentinel": "expected redis+sentinel://[[user]:password@]host[:port],host[:port]/service[/db][?option=value]",
    "unix": "expected unix://[[user]:password@]/path/redis.sock[?db=0&option=value]",
}
KINDS = {
    "redis": "tcp",
    "rediss": "tcp",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "unix": "unix",
    "redis+unix": "unix",
}
PORT, SENTINEL_PORT = 6379, 26379
LAST_PORT = 65535


class Location(NamedTuple):
    """One database of one server, and who asks."""

    printed: str
    """The URL with passwords masked."""
    addresses: tuple[tuple[str, int], ...]
    """Of the server, or of the Sentinels."""
    path: str | None
    """The socket of a server on this machine."""
    service: str | None
    """What the Sentinels call the server; None: without Sentinel."""
    tls: bool
    user: str | None
    password: str | None
    options: Options


def locate(url: str) -> Location:
    """Return what a URL says.

    Raises:
        ConfigError: The URL has another form, or an option is wrong; names it and what was expected.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{mask_url(url)!r}: {error}; {EXPECTED['tcp']}") from None
    kind = KINDS.get(parts.scheme)
    if kind is None or not url.startswith(f"{parts.scheme}://"):
        raise ConfigError(f"{mask_url(url)!r}: {EXPECTED['tcp']}")
    tls = parts.scheme.startswith("rediss")
    try:
        if parts.fragment:
            raise ConfigError("no '#': write %23 in a password")  # noqa: TRY301  # told with the URL below
        userinfo, _, hosts = parts.netloc.rpartition("@")
        user, password = _credentials(userinfo)
        path, service, database = _path(kind, parts.path)
        options = read_options(parse_qsl(parts.query, keep_blank_values=True), database=database, tls=tls, kind=kind)
        addresses = _addresses(kind, hosts)
    except ConfigError as error:
        raise ConfigError(f"{mask_url(url)!r}: {error}; {EXPECTED[kind]}") from None
    return Location(mask_url(url), addresses, path, service, tls, user, password, options)


def _credentials(userinfo: str) -> tuple[str | None, str | None]:
    user, colon, password = userinfo.partition(":")
    if not colon and user:
        raise ConfigError("a user without a password")
    return unquote(user) or None, unquote(password) or None


def _path(kind: str, path: str) -> tuple[str | None, str | None, int | None]:
    """Return the socket's path, the service and the database that the path of a URL names."""
    if kind == "unix":
        name = unquote(path)
        if name in {"", "/"} or "\0" in name:
            raise ConfigError("a path is missing")
        return name, None, None
    names = [unquote(name) for name in path.strip("/").split("/") if name]
    service = None
    if kind == "sentinel":
        if not names:
            raise ConfigError("the name of the service is missing")
        service = names.pop(0)
    if not names:
        return None, service, None
    if len(names) > 1 or not (names[0].isascii() and names[0].isdecimal()):
        raise ConfigError(f"database: a whole number, 0 or more, got {'/'.join(names)!r}")
    return None, service, int(names[0])


def _addresses(kind: str, hosts: str) -> tuple[tuple[str, int], ...]:
    if kind == "unix":
        if hosts:
            raise ConfigError(f"three slashes before a path, got the host {hosts!r}")
        return ()
    port = SENTINEL_PORT if kind == "sentinel" else PORT
    found = tuple(_address(host, port) for host in hosts.split(",")) if hosts else ()
    if not found and kind == "tcp":
        return (("localhost", PORT),)
    if not found or (kind == "tcp" and len(found) > 1):
        raise ConfigError(f"{'one host' if found else 'a host'}, got {hosts!r}")
    return found


def _address(text: str, port: int) -> tuple[str, int]:
    bare = text.strip()
    if bare.startswith("["):
        host, bracket, rest = bare[1:].partition("]")
        number = rest[1:]
        is_right = bool(bracket) and (not rest or rest.startswith(":"))
    else:
        host, colon, number = bare.partition(":")
        rest, is_right = colon, True
    if not host or not is_right:
        raise ConfigError(f"host[:port], got {text!r}")
    if not rest:
        return host, port
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= LAST_PORT):
        raise ConfigError(f"port: a whole number from 1 to {LAST_PORT}, got {number!r}")
    return host, int(number)
