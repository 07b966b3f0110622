"""What Redis' errors, and those of the network, mean to a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.errors import QTasksError, RefusedError, UnavailableError

if TYPE_CHECKING:
    import hiredis

__all__ = ["code_of", "is_wrong_server", "translate"]

# The first word of an error, as Redis' own source has them (server.c, createSharedObjects).
AWAY = {
    "BUSY": "a script holds the server up",
    "CLUSTERDOWN": "the cluster is down",
    "LOADING": "it reads its data from disk",
    "MASTERDOWN": "it has lost its master",
    "MISCONF": "it cannot write to disk, and is set to refuse writes then",
    "NOREPLICAS": "it has too few replicas (min-replicas-to-write)",
    "READONLY": "it is a replica; expected the master",
    "TRYAGAIN": "it moves keys",
    "UNKILLABLE": "a script holds the server up",
}
OUT_OF_MEMORY = "it is full (maxmemory): give it more memory, let results expire earlier, or start more workers"
LOCKED_OUT = {
    "NOAUTH": "it wants a password: put it in the URL",
    "WRONGPASS": "it does not know that user and password",
}
WRONG_SERVER = frozenset({"MASTERDOWN", "NOAUTH", "READONLY"})


def code_of(error: Exception) -> str:
    """Return the first word of an error from the server, such as "NOSCRIPT"."""
    return str(error).partition(" ")[0]


def is_wrong_server(error: Exception) -> bool:
    """Tell whether to connect anew may help: the master is elsewhere now, or the user was changed."""
    return code_of(error) in WRONG_SERVER


def translate(error: hiredis.ReplyError, server: str) -> QTasksError:
    """Return what a component answers for an error from the server.

    Parameters:
        error: From the server.
        server: Its URL, fit to print.
    """
    fault = _fault(code_of(error), str(error), server)
    fault.__cause__ = error
    return fault


def _fault(code: str, text: str, server: str) -> QTasksError:
    if code == "OOM":
        return UnavailableError(f"{server}: {OUT_OF_MEMORY}; it says: {text}")
    if code in AWAY:
        return UnavailableError(f"{server}: {AWAY[code]}; it says: {text}")
    if code in LOCKED_OUT:
        return UnavailableError(f"{server}: {LOCKED_OUT[code]}; it says: {text}")
    if code == "NOPERM":
        return RefusedError(f"{server}: the user may not do this (ACL; docs/brokers/redis.md lists it): {text}")
    if code in {"MOVED", "ASK", "CROSSSLOT"}:
        return RefusedError(f"{server} is part of a cluster; expected one server, or Sentinel: {text}")
    return RefusedError(f"{server} refused: {text}")
