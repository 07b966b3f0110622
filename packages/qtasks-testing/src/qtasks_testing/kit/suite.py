"""The base of all suites: how a backend's test module takes one over, and how a weakened one is found."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import pytest_asyncio

from qtasks_testing.kit.bench import Bench
from qtasks_testing.kit.requirements import MARK, Requirement, unmet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from qtasks_testing.kit.subject import Subject

__all__ = ["SUBJECT", "Suite"]

SUBJECT: pytest.StashKey[Subject] = pytest.StashKey()
"""The subject of a test that has been set up."""

_META = "test_nothing_of_the_suite_is_weakened"
_WEAKENING = ("skip", "skipif", "xfail")


@pytest.mark.qtasks_kit
class Suite:
    """Subclass a suite in a test module that has a fixture `subject`; that is all.

    A subclass may add tests. It may not replace, remove, skip or xfail those of the suite: one of them fails then.
    """

    component: ClassVar[str] = "broker"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(cls, _META) is not getattr(Suite, _META):
            raise TypeError(f"{cls.__name__} replaces {_META}(), which guards the suite")
        for name, test in vars(cls).items():
            if name.startswith("test_") and iscoroutinefunction(test):
                pytest.mark.asyncio(test)  # for test runs that are not in asyncio's auto mode

    @pytest_asyncio.fixture
    async def bench(self, subject: Subject, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
        """Build components for one test, and stop them after it; skip the test when the backend lacks what it needs."""
        request.node.stash[SUBJECT] = subject
        bench = Bench(subject, self.component)
        _skip_unless_met(request.node, bench)
        try:
            yield bench
        finally:
            await bench.close()

    @pytest.mark.asyncio
    async def test_nothing_of_the_suite_is_weakened(self, request: pytest.FixtureRequest) -> None:
        """A backend cannot pass by leaving out what it fails."""
        faults = [*_replaced(type(self)), *_marked(type(self), request.session)]

        assert not faults


def _replaced(cls: type) -> Iterator[str]:
    for suite in filter(_of_kit, cls.__mro__):
        for name in vars(suite):
            if not name.startswith("__") and name != "pytestmark" and not _of_kit(_defining(cls, name)):
                yield f"{name} of {suite.__name__} is replaced"


def _of_kit(cls: type) -> bool:
    return cls.__module__.startswith("qtasks_testing.kit.")


def _defining(cls: type, name: str) -> type:
    return next(base for base in cls.__mro__ if name in vars(base))


def _marked(cls: type, session: pytest.Session) -> Iterator[str]:
    for item in session.items:
        if isinstance(item, pytest.Function) and item.cls is cls:
            for mark in item.iter_markers():
                if mark.name in _WEAKENING:
                    yield f"{item.name} is marked {mark.name}"


def _skip_unless_met(node: pytest.Item, bench: Bench) -> None:
    if bench.subject.factory(bench.component) is None:
        pytest.skip(f"qtasks kit: the subject has no {bench.component}")
    component = bench.probe()
    needs: list[Requirement] = [need for mark in node.iter_markers(MARK) for need in mark.args]
    reasons = [reason for need in needs if (reason := unmet(need, bench.subject, component))]
    if reasons:
        pytest.skip(f"qtasks kit: {'; '.join(reasons)}")
