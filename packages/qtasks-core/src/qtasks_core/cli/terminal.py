"""The terminal: whether colour is wanted there."""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["wants_colour"]


def wants_colour(stream: TextIO, *, no_color: bool) -> bool:
    """Return whether to write colour to *stream*: a terminal that can, and neither --no-color nor NO_COLOR."""
    if no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
