"""Each trigger is declared, documented and fired by a test; the page says so."""

import pytest

from qtasks_core import hookspecs
from triggers.page import FIRST, PAGE, component, firing, page, triggers


def test_the_page_is_up_to_date() -> None:
    """docs/triggers.md is what tests/triggers/page.py makes; `scripts/fix` writes it."""
    assert page() == PAGE.read_text(encoding="utf-8")


def test_each_trigger_is_fired_by_a_test() -> None:
    """A test says by `@pytest.mark.fires` which triggers it fires; none is of a trigger that is not declared."""
    assert set(hookspecs.__all__) == set(firing())


def test_a_trigger_is_fired_where_its_component_is_tested() -> None:
    """Or beside its twin: tests of a broker's trigger may fire the storage's of the same point."""
    modules = {f"test_{component(name)}.py" for name in hookspecs.__all__} | {"test_app.py"}

    assert set() == {test.partition("::")[0] for fired in firing().values() for test in fired} - modules


@pytest.mark.parametrize("one", triggers(), ids=lambda one: one.name)
def test_the_page_has_each_trigger_once(one: object) -> None:
    """As a section of its own, or as a row of its component's table."""
    text = PAGE.read_text(encoding="utf-8")
    name = one.name  # type: ignore[attr-defined]
    sections, rows = text.count(f"### {name}\n"), text.count(f"| `{name}` |")

    assert (1, 0) if name in FIRST else (0, 1) == (sections, rows)
