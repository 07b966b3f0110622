"""The page of features says what the suites and the backends declare."""

import pytest

from features.matrix import PAGE, Found, declared, page, stored, suites


@pytest.fixture(scope="module")
def found() -> Found:
    """Return what the backends declare that can be asked here; one whose server is away is not among them."""
    return declared()


def test_the_page_is_up_to_date() -> None:
    """docs/features.md is what tests/features/matrix.py makes; `scripts/fix` writes it."""
    assert page(stored()) == PAGE.read_text(encoding="utf-8")


def test_the_page_says_what_the_backends_declare(found: Found) -> None:
    """A backend whose server is away keeps its column."""
    assert {"memory", "sqlite"} <= set(found)
    assert found == {scheme: one for scheme, one in stored().items() if scheme in found}


def test_every_backend_takes_over_every_suite_of_features(found: Found) -> None:
    """What it lacks is skipped by the suite, and shown; a suite that is left out would show nothing."""
    features = {suite.feature for suite in suites()}

    assert dict.fromkeys(found, features) == {scheme: set(one["features"]) for scheme, one in found.items()}
