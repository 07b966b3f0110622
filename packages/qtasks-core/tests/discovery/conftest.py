"""What the tests of discovery share: a folder to install distributions into."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from discovery.site import Site
from qtasks_core.discovery import ambient


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder to install into; what was said of plugins before is forgotten."""
    for variable in ("QTASKS_PLUGINS", "QTASKS_DISABLE_PLUGINS", "QTASKS_PLUGINS_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(ambient, "_told", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]
