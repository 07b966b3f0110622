"""From a URL to a directory, and how carefully it is written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from qtasks_core.errors import ConfigError

__all__ = ["Location", "locate"]

_EXPECTED = "expected dir:////absolute/path or dir:///relative/path, perhaps with ?sync=full or ?sync=none"
_SYNCS = {"full": True, "none": False}


class Location(NamedTuple):
    """A directory.

    Parameters:
        folder: Its absolute path; links are followed, so that one directory has one name.
        is_synced: Whether what was promised to be safe is on the disk, and not only in the system's memory.
    """

    folder: Path
    is_synced: bool


def locate(url: str) -> Location:
    """Return the directory that a URL names.

    Raises:
        ConfigError: The URL has another form, or the directory's parent is not there.
    """
    parts = urlsplit(url)
    if parts.scheme != "dir" or parts.netloc or parts.fragment or not url.startswith("dir:///"):
        raise ConfigError(f"{url!r}: {_EXPECTED}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    sync = options.pop("sync", "full")
    name = unquote(parts.path[1:])
    if options or sync not in _SYNCS or not name.strip("/") or "\0" in name:
        raise ConfigError(f"{url!r}: {_EXPECTED}")
    folder = Path(os.path.realpath(name))
    if not os.path.isdir(folder.parent):  # noqa: PTH112  # Path.is_dir() raises where a folder must not be entered
        raise ConfigError(f"{url!r}: expected that the folder {str(folder.parent)!r} exists and may be entered")
    return Location(folder, _SYNCS[sync])
