"""What tests of damage share: one bench on each of the servers that need no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damage.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh server of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/damage.db"


@pytest.fixture
def bench(url: str) -> Bench:
    """Return an app on each kind of server."""
    return Bench(url)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the path of a SQLite file that is not there yet."""
    return tmp_path / "damage.db"


@pytest.fixture
def sqlite_bench(database: Path) -> Callable[..., Bench]:
    """Return a function that makes an app on that file; it takes settings."""
    return lambda **settings: Bench(f"sqlite:///{database}", **settings)
