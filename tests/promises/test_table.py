"""Each promise has its tests, and the page says so."""

import pytest

from promises.table import PAGE, Promise, is_there, page, promises


@pytest.mark.parametrize("promise", promises(), ids=lambda one: one.event)
def test_a_promise_has_tests(promise: Promise) -> None:
    """No promise is without a test, and each test that it names exists."""
    assert promise.tests
    assert [] == [test for test in promise.tests if not is_there(test)]


def test_the_page_is_up_to_date() -> None:
    """docs/promises.md is what docs/promises.toml makes; `scripts/fix` writes it."""
    assert page() == PAGE.read_text(encoding="utf-8")
