"""Names: the namespace of an app, task ids, worker names, URLs fit to print."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from uuid import UUID, SafeUUID

from qtasks_core.errors import ConfigError

__all__ = ["mask_url", "new_uuid", "new_worker_name", "slug"]

_V7 = 0x7 << 76
_VARIANT = 0x2 << 62
_RANDOM_A = 0xFFF << 64
_RANDOM_B = (1 << 62) - 1
_PART_BYTES = 10
_PARTS = 64
_random_parts: list[int] = []
_new = object.__new__
_UNKNOWN = SafeUUID.unknown
_set_int, _set_safety = (vars(UUID)[slot].__set__ for slot in ("int", "is_safe"))  # UUID(…) takes three times as long
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
    try:
        random = _random_parts.pop()
    except IndexError:
        random = _more_random_parts()
    found = _new(UUID)
    _set_int(found, time.time_ns() // 1_000_000 << 80 | random)
    _set_safety(found, _UNKNOWN)
    return found


def _more_random_parts() -> int:
    """Ask the system for the random bits of many ids at once; return those of one."""
    raw = os.urandom(_PART_BYTES * _PARTS)
    parts = [int.from_bytes(raw[start : start + _PART_BYTES]) for start in range(0, len(raw), _PART_BYTES)]
    _random_parts.extend([_V7 | (part & _RANDOM_A) | _VARIANT | (part & _RANDOM_B) for part in parts[1:]])
    return _V7 | (parts[0] & _RANDOM_A) | _VARIANT | (parts[0] & _RANDOM_B)


def new_worker_name() -> str:
    """Return a name that no other worker has: host, process and four random digits."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_parts.clear)  # or both would make the same ids


def mask_url(url: str) -> str:
    """Return the URL with its password replaced by `***`, fit for logs and errors; masks rather too much."""
    return _SECRET_PARAMETER.sub(r"\1***", _USERINFO.sub(r"\1***@", url))
