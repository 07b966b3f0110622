"""Whether a distribution was made for the core that is installed."""

from __future__ import annotations

import pytest

from qtasks_core.discovery.fitting import fits


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("0.1.0", ""),
        ("0.1.0", ">=0.1,<1"),
        ("0.1", "==0.1.0"),
        ("0.1.0", " >= 0.1 , < 1 "),
        ("0.1.9", "~=0.1.2"),
        ("0.9", "~=0.1"),
        ("1.2.3", "==1.2.*"),
        ("1.3", "!=1.2.*"),
        ("1.10", ">1.9"),
        ("1.0", "<=1.0.0"),
        ("2.0.dev3", ">=2"),
        ("1.0", "!=2"),
        ("1.0", "===anything"),
        ("1.0", ">=one"),
        ("unknown", ">=7"),
    ],
)
def test_a_version_that_is_wanted_fits(version: str, wanted: str) -> None:
    """By release numbers; what cannot be read is the installer's to judge."""
    assert fits(version, wanted)


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("0.1.0", ">=0.2"),
        ("1.0", "<1"),
        ("1.0.0", "<1"),
        ("0.2.0", "~=0.1.2"),
        ("1.1", "==1"),
        ("1.2.3", "!=1.2.*"),
        ("1.2", "==1.3.*"),
        ("1.9", ">1.10"),
        ("2.0", ">=1,!=2,<3"),
        ("1.1", "<=1.0"),
    ],
)
def test_a_version_that_is_not_wanted_does_not(version: str, wanted: str) -> None:
    """One clause that is not met is enough."""
    assert not fits(version, wanted)
