"""Entry points of the groups that QTasks reads, with the distributions they are from."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qtasks_core.discovery.fitting import API_VERSION, unmet_requirement
from qtasks_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["COMMANDS", "PLUGINS", "SCHEMES", "Entry", "check_api", "entries"]

logger = logging.getLogger("qtasks.plugins")

PLUGINS = "qtasks"
COMMANDS = "qtasks.commands"
SCHEMES = {"broker": "qtasks.brokers", "storage": "qtasks.storages", "global_config": "qtasks.global_configs"}
"""Part of an app → the group whose names are schemes, written with `.` for `+`."""

_GROUPS = frozenset({PLUGINS, COMMANDS, *SCHEMES.values()})
_Stamp = tuple[tuple[str, int], ...]
_scanned: tuple[_Stamp, tuple[Entry, ...]] | None = None


@dataclass(frozen=True)
class Entry:
    """One entry point, and the distribution that has it."""

    group: str
    name: str
    value: str
    distribution: str
    version: str
    point: EntryPoint

    @property
    def owner(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}"

    @property
    def origin(self) -> str:
        """What a message says of where it is from."""
        return f"({self.owner}, entry point {self.value})"

    @property
    def summary(self) -> str:
        """What the distribution says of itself in one line; empty where it says nothing."""
        metadata = None if self.point.dist is None else self.point.dist.metadata
        return "" if metadata is None or "Summary" not in metadata else " ".join(metadata["Summary"].split())

    def load(self, what: str) -> Any:
        """Import what it stands for.

        Parameters:
            what: How messages call it.

        Raises:
            PluginError: It raised, or its distribution needs another version of the core; names distribution, version
                and entry point, and is chained to the cause.
        """
        where = f"{what} {self.origin}"
        if self._unmet is not None:
            raise PluginError(f"{where} {self._unmet}; install releases that fit together")
        try:
            return self.point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(f"{where} cannot be loaded: {error!r}") from error

    @cached_property
    def _unmet(self) -> str | None:
        return unmet_requirement(self.point.dist)


def check_api(where: str, found: object) -> None:
    """Check that something was written for this version of the contract.

    Parameters:
        where: What it is and where it is from, for the message.
        found: What says so, as its `qtasks_api`.

    Raises:
        PluginError: It says another version, or none.
    """
    api = getattr(found, "qtasks_api", None)
    if api != API_VERSION:
        raise PluginError(
            f"{where}: expected qtasks_api {API_VERSION}, got {api!r}; install releases that fit together"
        )


def entries(group: str, name: str | None = None) -> list[Entry]:
    """Return what installed distributions have in a group, sorted by name; looked for anew when sys.path changes.

    Parameters:
        group: A group that QTasks reads.
        name: Only those of that name.
    """
    global _scanned  # noqa: PLW0603  # one per process
    stamp = tuple(_stamps(sys.path))
    if _scanned is None or _scanned[0] != stamp:
        _scanned = (stamp, tuple(sorted(_scan(), key=lambda one: (one.group, one.name, one.distribution))))
    return [one for one in _scanned[1] if one.group == group and name in {None, one.name}]


def _stamps(places: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield what changes when a distribution comes to one of these places or goes."""
    for place in places:
        changed = 0
        with contextlib.suppress(OSError):
            changed = os.stat(place or ".").st_mtime_ns  # noqa: PTH116  # a text, and a dozen of them
        yield place, changed


def _scan() -> Iterator[Entry]:
    from importlib.metadata import distributions  # noqa: PLC0415  # importing it costs as much as the engine

    seen: set[str] = set()
    for distribution in distributions():
        try:
            found = list(_entries_of(distribution))
        except Exception as error:  # noqa: BLE001  # one's damaged metadata must not hide what others bring
            logger.debug("a distribution's metadata cannot be read, it is left out: %r", error)
            continue
        if found and found[0].distribution not in seen:  # the first on sys.path is the one that is imported
            seen.add(found[0].distribution)
            yield from found


def _entries_of(distribution: Distribution) -> Iterator[Entry]:
    points = [point for point in distribution.entry_points if point.group in _GROUPS]
    if points:  # reading the rest of the metadata takes longer
        name, version = str(distribution.metadata["Name"]), str(distribution.version)
        for point in points:
            yield Entry(point.group, point.name, point.value, name, version, point)
