"""What holds for every backend component: built without I/O, started and stopped at will, alone in its namespace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Capability
from qtasks_core.errors import ConfigError
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_testing.kit.bench import Bench

__all__ = ["LifeTests"]


class LifeTests(Suite):
    """Tests of the life of any component."""

    async def test_it_says_which_contract_it_keeps(self, bench: Bench) -> None:
        """The engine reads api and capabilities from the class, before anything is built."""
        kind = type(bench.probe())

        assert kind.qtasks_api == 1
        assert isinstance(kind.capabilities, Capability)

    async def test_it_is_built_without_an_event_loop(self, bench: Bench) -> None:
        """The constructor does no I/O: an app is made at import, long before its loop."""
        assert await asyncio.to_thread(bench.probe) is not None

    @requires(Trait.WRONG_URLS)
    async def test_a_wrong_url_is_refused_when_it_is_built(self, bench: Bench) -> None:
        """A typo is told at once, with what was expected, not when the first task is added."""
        for url in bench.subject.wrong_urls:
            with pytest.raises(ConfigError, match="expected"):
                bench.at(url)

    async def test_start_and_stop_may_be_repeated(self, bench: Bench) -> None:
        """Both are idempotent."""
        component = bench.make(bench.component)

        for _ in range(2):
            await component.start()
        for _ in range(2):
            await component.stop()

    async def test_stop_before_start_does_nothing(self, bench: Bench) -> None:
        """An app that failed while it started stops what it never started."""
        await bench.make(bench.component).stop()

    async def test_it_can_be_started_again_after_a_stop(self, bench: Bench) -> None:
        """A stopped component is as good as a new one."""
        component = bench.make(bench.component)
        await component.start()
        await component.stop()

        await component.start()
        await component.clear()
        await component.stop()

    async def test_stopping_one_leaves_the_others_running(self, bench: Bench) -> None:
        """What components share stays open for those that still use it."""
        first, second = await bench.main(), await bench.main()
        await first.stop()

        await second.clear()

    async def test_it_works_on_several_event_loops_one_after_the_other(self, bench: Bench) -> None:
        """Nothing of an engine's loop is kept in what the app's components share."""

        async def live() -> None:
            component = bench.make(bench.component)
            await component.start()
            await component.clear()
            await component.stop()

        for _ in range(2):
            await bench.elsewhere(live)
