"""What the tests of discovery share: a folder to install distributions into."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from discovery.site import Site
from qtasks_core.discovery import ambient, survey
from qtasks_core.discovery.entries import PLUGINS, Entry, entries

_OTHERS = frozenset(entry_points(group="qtasks").names)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder to install into; what was said of plugins before is forgotten."""
    for variable in ("QTASKS_PLUGINS", "QTASKS_PLUGINS_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(ambient, "_told", set())
    for module in (ambient, survey):
        monkeypatch.setattr(module, "entries", _entries_of_site)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def _entries_of_site(group: str, name: str | None = None) -> list[Entry]:
    """Return what the test has installed, and not what is installed besides."""
    return [found for found in entries(group, name) if group != PLUGINS or found.name not in _OTHERS]
