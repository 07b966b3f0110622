"""Which features the backends of a test run have: a pytest plugin that notes it, for docs/features.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from qtasks_testing.kit.features.abilities import ABILITIES
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.suite import SUBJECT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from qtasks_testing.kit.subject import Subject

__all__ = ["Declarations"]


class Declarations:
    """Notes for each backend and each test of a feature why it is skipped; None: it runs.

    With pytest's `--setup-only` backends are asked, and nothing is run.

    Parameters:
        path: The file that is written at the end, as JSON: abilities and features by backend, a backend being the
            scheme of its URL.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Any] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the tests of features alone in the run."""
        items[:] = [item for item in items if _suite_of(item) is not None]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what the setup of a test says."""
        report = yield
        suite, subject = _suite_of(item), item.stash.get(SUBJECT, None)
        if suite is not None and subject is not None and (call.when == "setup" or report.failed):
            self._note(suite.feature, getattr(item, "originalname", item.name), subject, _reason(report))
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self._found, indent=1) + "\n", encoding="utf-8")

    def _note(self, feature: str, test: str, subject: Subject, reason: str | None) -> None:
        scheme = urlsplit(subject.url).scheme
        backend = self._found.get(scheme)
        if backend is None:
            abilities = {ability.name: ability.missing(subject) for ability in ABILITIES}
            backend = self._found[scheme] = {"abilities": abilities, "features": {}}
        backend["features"].setdefault(feature, {})[test] = reason


def _suite_of(item: pytest.Item) -> type[FeatureSuite] | None:
    found = getattr(item, "cls", None)
    is_one = isinstance(found, type) and issubclass(found, FeatureSuite) and bool(found.feature)
    return found if is_one and not item.name.startswith("test_nothing_of_the_suite") else None


def _reason(report: pytest.TestReport) -> str | None:
    if report.passed:
        return None
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else f"it fails: {report.longrepr}"
    return text.removeprefix("Skipped: ").removeprefix("qtasks kit: ")
