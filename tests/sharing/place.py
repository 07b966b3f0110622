"""Where the tasks and the state of one test are."""

from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

EVERYWHERE = pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
"""Runs a test on every server that has compare-and-set."""


class Place(NamedTuple):
    url: str
    name: str

    @classmethod
    def on_sqlite(cls, path: Path) -> "Place":
        """Return a place in a file."""
        return cls(f"sqlite:///{path}", "sharing")

    @classmethod
    def on_redis(cls, url: str) -> "Place":
        """Return a place of the test's own on a Redis."""
        return cls(url, f"sharing-{uuid4().hex}")
