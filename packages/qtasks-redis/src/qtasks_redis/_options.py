"""What comes after the `?` of a URL: read and checked early, since a typo must not be found in production."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Options", "read_options"]

LONGEST_S = 3600.0


class Options(Struct, frozen=True, kw_only=True):
    """Settings of the connections to one server; times are in seconds."""

    db: int = 0
    """Number of the database."""
    timeout: float = 5.0
    """How long a command may wait for its reply."""
    connect_timeout: float = 5.0
    """How long connecting may take, with TLS and login."""
    health_check: float = 15.0
    """How often a connection that only listens asks whether the server is there; 0: never."""
    keepalive: bool = True
    """Whether the kernel looks after idle connections."""
    client_name: str | None = None
    """What CLIENT LIST shows."""
    allow_eviction: bool = False
    """Accept a server that may throw tasks away when its memory is full."""
    ca: str | None = None
    """File with the certificates of the authorities to trust; None: the system's."""
    cert: str | None = None
    """File with the certificate of this client."""
    key: str | None = None
    """File with its key; None: in the same file."""
    verify: bool = True
    """Whether the server's certificate must be signed by one of them."""
    check_hostname: bool = True
    """Whether it must be the host's."""
    sentinel_user: str | None = None
    """User of the Sentinels themselves."""
    sentinel_password: str | None = None
    """Their password."""


TLS_ONLY = frozenset({"ca", "cert", "key", "verify", "check_hostname"})
SENTINEL_ONLY = frozenset({"sentinel_user", "sentinel_password"})


def read_options(
    pairs: Iterable[tuple[str, str]], *, database: int | None = None, tls: bool = False, kind: str = "tcp"
) -> Options:
    """Return the options that a URL names.

    Parameters:
        pairs: Names and values, as in the URL.
        database: What its path said.
        tls: Whether the connections are encrypted.
        kind: "tcp", "sentinel" or "unix".

    Raises:
        ConfigError: Names the option and what was expected.
    """
    found: dict[str, Any] = {} if database is None else {"db": database}
    for name, text in pairs:
        _check_name(name, tls=tls, kind=kind)
        if name in found:
            raise ConfigError(f"option {name}: given twice")
        found[name] = READERS[name](name, text)
    if "key" in found and "cert" not in found:
        raise ConfigError("option key: expected cert beside it")
    if "sentinel_user" in found and "sentinel_password" not in found:
        raise ConfigError("option sentinel_user: expected sentinel_password beside it")
    if not found.get("verify", True):
        if found.get("check_hostname"):
            raise ConfigError("option check_hostname: expected verify=true beside it")
        found["check_hostname"] = False
    return Options(**found)


def _check_name(name: str, *, tls: bool, kind: str) -> None:
    if name not in READERS:
        near = difflib.get_close_matches(name, READERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"option {name}: expected one of {', '.join(READERS)}{hint}")
    if name in TLS_ONLY and not tls:
        raise ConfigError(f"option {name}: expected with TLS only (rediss://)")
    if name in SENTINEL_ONLY and kind != "sentinel":
        raise ConfigError(f"option {name}: expected with Sentinel only (redis+sentinel://)")


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"option {name}: expected a whole number, 0 or more, got {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_S:
        raise ConfigError(f"option {name}: expected seconds, more than 0 and at most {LONGEST_S:g}, got {text!r}")
    return seconds


def _seconds_or_never(name: str, text: str) -> float:
    return 0.0 if text == "0" else _seconds(name, text)


def _truth(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise ConfigError(f"option {name}: expected true or false, got {text!r}")
    return text == "true"


def _text(name: str, text: str) -> str:
    if not text:
        raise ConfigError(f"option {name}: expected a text that is not empty")
    return text


def _client_name(name: str, text: str) -> str:
    if not text or not all("!" <= character <= "~" for character in text):
        raise ConfigError(f"option {name}: expected letters, digits and signs without spaces, got {text!r}")
    return text


def _file(name: str, text: str) -> str:
    if not Path(text).is_file():
        raise ConfigError(f"option {name}: expected a file, got {text!r}, which is none")
    return text


READERS: dict[str, Callable[[str, str], Any]] = {
    "db": _number,
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "health_check": _seconds_or_never,
    "keepalive": _truth,
    "client_name": _client_name,
    "allow_eviction": _truth,
    "ca": _file,
    "cert": _file,
    "key": _file,
    "verify": _truth,
    "check_hostname": _truth,
    "sentinel_user": _text,
    "sentinel_password": _text,
}
