"""Whether a distribution was made for the core that is installed.

An installer sees to it, but may be told not to, and environments change afterwards. Requirements are read as far as a
release number goes (`qtasks-core>=0.1,<1`); what is not understood is taken to fit.
"""

from __future__ import annotations

import operator
import re
from itertools import zip_longest
from typing import TYPE_CHECKING

from qtasks_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import Distribution

__all__ = ["API_VERSION", "fits", "unmet_requirement"]

API_VERSION = 1
"""The contract's version: what brokers, storages, global configs and plugins say as their `qtasks_api`."""

_TRAIN = {"qtasks", "qtasks-core"}  # released together, with one version
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?(?P<versions>[^;)]*)\)?\s*(?P<marker>;.*)?")
_CLAUSE = re.compile(r"(?P<sign>[<>=!~]=|[<>])\s*v?(?P<release>\d+(?:\.\d+)*)(?P<any>\.\*)?")
_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_Release = tuple[int, ...]
_COMPARISONS: dict[str, Callable[[_Release, _Release], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def unmet_requirement(distribution: Distribution | None) -> str | None:
    """Return what a distribution needs of the core and does not get, as a message says it; None where all fits."""
    for text in (distribution.requires or []) if distribution is not None else []:
        found = _REQUIREMENT.fullmatch(text.strip())
        if found is None or found["marker"] or re.sub(r"[-_.]+", "-", found["name"]).lower() not in _TRAIN:
            continue  # what a marker says is the installer's to know
        if not fits(__version__, found["versions"]):
            return f"needs {found['name']}{found['versions'].strip()}, and {__version__} is installed"
    return None


def fits(version: str, wanted: str) -> bool:
    """Whether a version is one of those wanted, such as `>=0.1,<1`; compared by release numbers."""
    return all(_fits_clause(version, clause.strip()) for clause in wanted.split(",") if clause.strip())


def _fits_clause(version: str, clause: str) -> bool:
    found, release = _CLAUSE.fullmatch(clause), _RELEASE.match(version)
    if found is None or release is None:
        return True
    have, want = _release(release[0]), _release(found["release"])
    if found["any"] and found["sign"] in {"==", "!="}:
        return (have[: len(want)] == want) is (found["sign"] == "==")
    if found["sign"] == "~=":
        return have >= want and have[: len(want) - 1] == want[:-1]
    have, want = _padded(have, want)
    return _COMPARISONS[found["sign"]](have, want)


def _release(text: str) -> _Release:
    return tuple(int(part) for part in text.split("."))


def _padded(one: _Release, other: _Release) -> tuple[_Release, _Release]:
    pairs = list(zip_longest(one, other, fillvalue=0))
    return tuple(first for first, _ in pairs), tuple(second for _, second in pairs)
