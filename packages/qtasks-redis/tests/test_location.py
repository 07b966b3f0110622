"""From a URL to where the server is: what is read, and what is refused with words that mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import ConfigError
from qtasks_redis._location import locate

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bare_url_is_the_local_server() -> None:
    """As with every other client of Redis."""
    location = locate("redis://")

    assert (("localhost", 6379),) == location.addresses
    assert (None, None, 0, False) == (location.user, location.password, location.options.db, location.tls)


@pytest.mark.parametrize(
    ("url", "addresses", "database"),
    [
        ("redis://host", (("host", 6379),), 0),
        ("redis://host/", (("host", 6379),), 0),
        ("redis://host:7000/3", (("host", 7000),), 3),
        ("redis://host?db=3", (("host", 6379),), 3),
        ("redis://[::1]:7000", (("::1", 7000),), 0),
        ("redis://[fe80::1]/1", (("fe80::1", 6379),), 1),
    ],
)
def test_host_port_and_database_are_read(url: str, addresses: tuple[tuple[str, int], ...], database: int) -> None:
    """IPv6 in brackets; the database in the path or as an option."""
    location = locate(url)

    assert addresses == location.addresses
    assert database == location.options.db


def test_user_and_password_may_hold_any_character() -> None:
    """Percent-encoded; none of it is printed."""
    location = locate("rediss://us%2Fer:p%40ss%3Aw%2F@host")

    assert ("us/er", "p@ss:w/") == (location.user, location.password)
    assert location.tls
    assert "p%40ss" not in location.printed


def test_a_password_needs_no_user() -> None:
    """It is that of the user `default`."""
    assert (None, "secret") == locate("redis://:secret@host")[5:7]


def test_sentinels_are_several_hosts_and_a_service() -> None:
    """With a database behind, and a password of their own that is not printed."""
    location = locate("redis+sentinel://:secret@a,b:7000/mymaster/2?sentinel_password=hidden")

    assert (("a", 26379), ("b", 7000)) == location.addresses
    assert ("mymaster", 2, "secret") == (location.service, location.options.db, location.password)
    assert "hidden" == location.options.sentinel_password
    assert "hidden" not in location.printed


@pytest.mark.parametrize("scheme", ["unix", "redis+unix"])
def test_a_socket_is_a_path(scheme: str) -> None:
    """Its database is an option: a path may end in a number."""
    location = locate(f"{scheme}://:secret@/run/redis%20a.sock?db=2")

    assert ("/run/redis a.sock", "secret", 2) == (location.path, location.password, location.options.db)


def test_options_are_read(tmp_path: Path) -> None:
    """Each as its type."""
    file = tmp_path / "ca.pem"
    file.touch()
    options = locate(
        f"rediss://host?timeout=1.5&connect_timeout=2&health_check=0&keepalive=false&client_name=app&ca={file}"
        "&allow_eviction=true"
    ).options

    assert (1.5, 2.0, 0.0, False, "app") == (
        options.timeout,
        options.connect_timeout,
        options.health_check,
        options.keepalive,
        options.client_name,
    )
    assert (str(file), True) == (options.ca, options.allow_eviction)


def test_without_verification_no_name_is_checked() -> None:
    """There is nothing that it could be compared with."""
    options = locate("rediss://host?verify=false").options

    assert (False, False) == (options.verify, options.check_hostname)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis:host", "expected redis://"),
        ("redis://host:99999", "port"),
        ("redis://host:x", "port"),
        ("redis://::1", "port"),
        ("redis://[::1", "expected"),
        ("redis://a,b", "one host"),
        ("redis://user@host", "a user without a password"),
        ("redis://host/x", "database"),
        ("redis://host/-1", "database"),
        ("redis://host/1/2", "database"),
        ("redis://host#x", "%23"),
        ("redis://host/1?db=2", "option db: given twice"),
        ("redis://host?db=-1", "option db"),
        ("redis://host?db=", "option db"),
        ("redis://host?tiemout=1", "did you mean timeout?"),
        ("redis://host?timeout=0", "option timeout"),
        ("redis://host?timeout=nan", "option timeout"),
        ("redis://host?timeout=soon", "option timeout"),
        ("redis://host?timeout=1e9", "at most 3600"),
        ("redis://host?connect_timeout=-1", "option connect_timeout"),
        ("redis://host?keepalive=yes", "true or false"),
        ("redis://host?client_name=a b", "option client_name"),
        ("redis://host?ca=/there/is/none", "TLS only"),
        ("rediss://host?ca=/there/is/none", "'/there/is/none'"),
        ("rediss://host?key=" + __file__, "expected cert beside it"),
        ("rediss://host?verify=false&check_hostname=true", "verify=true"),
        ("redis://host?sentinel_password=x", "Sentinel only"),
        ("redis+sentinel://host", "name of the service"),
        ("redis+sentinel:///service", "a host"),
        ("redis+sentinel://host/service/x", "database"),
        ("redis+sentinel://host/service?sentinel_user=x", "sentinel_password"),
        ("unix://", "a path"),
        ("unix://host/run/redis.sock", "three slashes"),
        ("sqlite:///name.db", "expected redis://"),
    ],
)
def test_what_is_wrong_is_refused_by_name(url: str, words: str) -> None:
    """With the option, what was expected, and the form of the URL."""
    with pytest.raises(ConfigError) as caught:
        locate(url)

    assert words in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://:hidden@host/x", "redis+sentinel://host?sentinel_password=hidden", "unix://:hidden@"]
)
def test_no_refusal_prints_a_password(url: str) -> None:
    """It ends in a log."""
    with pytest.raises(ConfigError) as caught:
        locate(url)

    assert "hidden" not in str(caught.value)
