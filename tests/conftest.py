"""What the tests across packages share."""

import os
from pathlib import Path

import pytest

KEPT = {"QTASKS_PLUGINS_STRICT"}  # set by CI on purpose


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the whole project."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("QTASKS_") and name not in KEPT:
            monkeypatch.delenv(name)
