"""Where the tasks of one test are: the server, the namespace, and what is promised there."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import NamedTuple
from uuid import uuid4

import pytest

__all__ = ["EVERYWHERE", "Place"]

EVERYWHERE = pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
"""Runs a test on every server whose clients are processes."""


class Place(NamedTuple):
    """A server and a namespace on it."""

    url: str
    """The broker's URL."""
    name: str
    """The app's, which is the namespace."""
    recovery_s: float
    """Seconds in which what a dead worker held goes on (semantics.md); asserted at three times that."""

    def is_writable(self) -> bool:
        """Tell whether no process holds the file; always so on a server."""
        scheme, _, path = self.url.partition(":///")
        if scheme != "sqlite":
            return True
        with contextlib.closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
        return True

    @classmethod
    def on_sqlite(cls, path: object) -> Place:
        """Return a place in a file."""
        return cls(f"sqlite:///{path}", "faults", 2.0)

    @classmethod
    def on_redis(cls, url: str) -> Place:
        """Return a place of the test's own on a Redis."""
        return cls(url, f"faults-{uuid4().hex}", 10.0)
