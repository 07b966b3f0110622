"""Lua scripts: known to the server by their hash."""

from __future__ import annotations

import hashlib

__all__ = ["Script"]


class Script:
    """A script that `Link.run()` runs; made once, when its module is imported.

    Parameters:
        text: Lua. It gets one key, the prefix of its namespace, and adds to it.
    """

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text).hexdigest().encode()  # noqa: S324  # the name that Redis gives it

    def __repr__(self) -> str:
        return f"Script({self.text[:40]!r}...)"
