"""The scripts of this package: files that may begin with parts which several of them share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from qtasks_redis._scripts import Script

__all__ = ["load"]

_INCLUDE = "-- include: "


def load(name: str) -> Script:
    """Return the script of that name; what its line `-- include:` names goes before it, each once."""
    lines = _read(name).splitlines()
    first = [lines.pop(0)] if lines[0].startswith("#!") else []  # flags have to stand on the first line
    parts = lines.pop(0).removeprefix(_INCLUDE).split() if lines[0].startswith(_INCLUDE) else []
    return Script("\n".join([*first, *map(_read, parts), *lines]))


@cache
def _read(name: str) -> str:
    return (files("qtasks_redis") / "scripts" / f"{name}.lua").read_text()
