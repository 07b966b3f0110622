"""The base of the suites of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest_asyncio

from qtasks_testing.kit.features.abilities import RESULTS
from qtasks_testing.kit.features.stage import Stage
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from qtasks_testing.kit.bench import Bench

__all__ = ["FeatureSuite"]


@requires(RESULTS)
class FeatureSuite(Suite):
    """A suite whose tests run tasks: each makes an app and its workers on a stage."""

    feature: ClassVar[str] = ""
    """Its name in docs/features.md."""

    @pytest_asyncio.fixture
    async def stage(self, bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
        """Make a stage; it is left clean. The bench has skipped the test where something is missing."""
        stage = Stage(bench.subject, request.node.user_properties)
        try:
            yield stage
        finally:
            await stage.close()
