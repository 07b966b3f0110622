"""Names: the namespace of an app, task ids, worker names, URLs fit to print."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from uuid import UUID

from qtasks_core.errors import ConfigError

__all__ = ["mask_url", "new_uuid", "new_worker_name", "slug"]

_V7 = 0x7 << 76
_VARIANT = 0x2 << 62
_RANDOM_A = 0xFFF << 64
_RANDOM_B = (1 << 62) - 1
_USERINFO = re.compile(r"((?:^|:)//[^/?#@:]*:).*@", re.DOTALL)  # greedy: a password may hold anything, also unescaped
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:password|passwd|secret|token)=)[^&#]*", re.IGNORECASE)


def slug(name: str) -> str:
    """Return the namespace of an app: its name in lower case, other characters than a-z, 0-9 and `-` folded to `-`.

    Raises:
        ConfigError: Nothing is left of the name.
    """
    result = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not result:
        raise ConfigError(f"name: expected a text with at least one of a-z and 0-9, got {name!r}")
    return result


def new_uuid() -> UUID:
    """Return a UUID of version 7 (RFC 9562, section 5.7): neighbours in time are neighbours in an index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    return UUID(int=milliseconds << 80 | _V7 | (random & _RANDOM_A) | _VARIANT | (random & _RANDOM_B))


def new_worker_name() -> str:
    """Return a name that no other worker has: host, process and four random digits."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


def mask_url(url: str) -> str:
    """Return the URL with its password replaced by `***`, fit for logs and errors; masks rather too much."""
    return _SECRET_PARAMETER.sub(r"\1***", _USERINFO.sub(r"\1***@", url))
