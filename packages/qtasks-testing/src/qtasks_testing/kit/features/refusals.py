"""What users get where a backend lacks an ability: an error that says so and names the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import ConfigError
from qtasks_testing.kit.features.abilities import COMMANDS, DEAD_LETTERS, EVICTIONS, RECORDS, UNIQUE_KEYS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import Lack, requires

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.calls import AsyncTaskFunction
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["RefusalsSuite"]


def _work(app: QueueTasks) -> AsyncTaskFunction[[], int, object]:
    @app.task
    async def work() -> int:
        return 1

    return work  # type: ignore[return-value]  # an object is what a call of it gives


class RefusalsSuite(FeatureSuite):
    """Tests of the errors in docs/features.md: each runs where its ability is missing."""

    @requires(Lack(RECORDS))
    async def test_a_task_cannot_be_read_by_its_uuid(self, stage: Stage) -> None:
        """Who added it gets its result all the same."""
        app = stage.app()
        work = _work(app)
        async with stage.worker(app):
            task = await work.add_task()
            assert await task.result(stage.patience_s) == 1
            with pytest.raises(ConfigError) as caught:
                await app.get(task.uuid)

        assert RECORDS.instead == f"ConfigError: {caught.value}"

    @requires(Lack(COMMANDS))
    async def test_workers_cannot_be_reached(self, stage: Stage) -> None:
        """Neither to cancel what may run, nor to pause a queue; the task goes on."""
        app = stage.app()
        work = _work(app)
        task = await work.add_task()

        with pytest.raises(ConfigError) as caught:
            await task.cancel()
        with pytest.raises(ConfigError, match="to pause a queue the workers must be reached"):
            await app.pause("default")

        assert COMMANDS.instead == f"ConfigError: {caught.value}"
        async with stage.worker(app):
            assert await task.result(stage.patience_s) == 1

    @requires(Lack(UNIQUE_KEYS))
    async def test_a_unique_key_is_refused(self, stage: Stage) -> None:
        """Before anything is sent: a key that is not kept unique would be a lie."""
        app = stage.app()
        work = _work(app)

        with pytest.raises(ConfigError) as caught:
            await work.with_options(unique_key="k").add_task()
        with pytest.raises(ExceptionGroup) as many:
            await work.with_options(unique_key="k").add_many([(), ()])

        assert UNIQUE_KEYS.instead == f"ConfigError: {caught.value}"
        assert [str(error) for error in many.value.exceptions] == [str(caught.value)] * 2

    @requires(Lack(DEAD_LETTERS))
    async def test_dead_letters_are_not_shown(self, stage: Stage) -> None:
        """Nor sent again, nor deleted: that is for the tools of the server."""
        app = stage.app()

        with pytest.raises(ConfigError) as caught:
            await anext(app.dead_letters.list())
        for asked in (app.dead_letters.replay(), app.dead_letters.purge()):
            with pytest.raises(ConfigError, match="does not show its dead letters"):
                await asked

        assert DEAD_LETTERS.instead == f"ConfigError: {caught.value}"

    @requires(Lack(EVICTIONS))
    async def test_nothing_is_taken_away_at_once(self, stage: Stage) -> None:
        """evict() takes nothing, and says so."""
        app = stage.app()
        async with stage.worker(app, name="hung"):
            assert await app.core.evict("hung") == 0
