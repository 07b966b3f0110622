"""What operators do with an app as a whole: ask which workers are there, delete everything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.contract import Depth
from qtasks_core.errors import ResultExpiredError
from qtasks_testing.kit.features.abilities import COMMANDS, RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.task import Task
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["OperationsSuite"]

SOON_S = 0.5


def _echo(app: QueueTasks) -> Any:
    async def echo(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return x

    return app.task(echo)


async def _is_gone(app: QueueTasks, task: Task[Any]) -> bool:
    try:
        await app.get(task.uuid)
    except ResultExpiredError:
        return True
    return False


class OperationsSuite(FeatureSuite):
    """Tests of ping and flush_all."""

    feature = "Operations"

    @requires(COMMANDS)
    async def test_each_worker_answers(self, stage: Stage) -> None:
        """With its name, how long it is up, what it takes, and how quick it was; one that stopped does not."""
        app = stage.app()
        _echo(app)

        async def who(*names: str) -> Any:
            workers = await app.ping(timeout=SOON_S)
            return [one.name for one in workers if one.latency is not None] == list(names) and workers

        async with stage.worker(app, name="a"):
            async with stage.worker(app, name="b", queues=("other",)):
                first, second = await eventually(lambda: who("a", "b"), stage.patience_s)
            await eventually(lambda: who("a"), stage.patience_s)

        assert (first.queues, second.queues) == (("default",), ("other",))
        assert 0 <= first.age < stage.patience_s + 60
        assert 0 <= first.latency <= SOON_S + stage.patience_s

    @requires(COMMANDS)
    async def test_workers_of_other_apps_do_not_answer(self, stage: Stage) -> None:
        """An app is asked, not a server."""
        app, other = stage.app(), stage.app()
        async with stage.worker(other):
            assert await app.ping(timeout=SOON_S) == []

    @requires(RECORDS)
    async def test_everything_is_deleted(self, stage: Stage) -> None:
        """What waits, is delayed, has ended or is dead; afterwards the app works as a new one."""
        app = stage.app()
        echo = _echo(app)
        async with stage.worker(app):
            ended = [await echo.add_task(number) for number in (1, -1)]
            for task in ended:
                await task.wait(stage.patience_s)
        waiting = [await echo.add_task(2), await echo.with_options(delay=3600).add_task(3)]

        await app.flush_all()

        assert [await _is_gone(app, task) for task in (*ended, *waiting)] == [True] * 4
        depth = await app.core.engine().broker.depth("default")
        assert depth == Depth(*(None if count is None else 0 for count in depth))
        async with stage.worker(app):
            assert await echo.add_task(4).result(stage.patience_s) == 4

    @requires(RECORDS)
    async def test_who_waits_for_what_is_deleted_is_told(self, stage: Stage) -> None:
        """And not left alone with it."""
        app = stage.app()
        task = await _echo(app).add_task(1)
        waiting = asyncio.create_task(task.result())
        await asyncio.sleep(stage.silence_s)

        await app.flush_all()

        async with asyncio.timeout(stage.patience_s):
            with pytest.raises(ResultExpiredError):
                await waiting

    @requires(RECORDS, COMMANDS)
    async def test_other_apps_are_not_touched(self, stage: Stage) -> None:
        """Of the same server: their tasks, results and pauses stay."""
        app, other = stage.app(), stage.app()
        echo = _echo(other)
        async with stage.worker(other):
            ended = await echo.add_task(1)
            await ended.wait(stage.patience_s)
        waiting = await echo.add_task(2)
        await other.pause("slow")

        await app.flush_all()

        assert await other.paused() == ["slow"]
        assert (await other.get(ended.uuid)).status == "success"
        async with stage.worker(other):
            assert await waiting.result(stage.patience_s) == 2
