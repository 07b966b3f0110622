"""ack="early": a run that was cut short is not run again, and its task says so."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.errors import TaskDeadError, TaskFailedError
from qtasks_testing.kit.features.abilities import EVICTIONS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["AtMostOnceSuite"]


class _Long:
    """A task that runs until it is cut short, or until the test lets it go."""

    def __init__(self, app: QueueTasks, where: str, **options: Any) -> None:
        self.runs: list[int] = []
        self.go_on = threading.Event()
        function: Any = self._in_thread if where == "thread" else self._on_loop
        self.task = app.task(name="long", **options)(function)

    async def _on_loop(self, number: int) -> int:
        self.runs.append(number)
        while not self.go_on.is_set():  # noqa: ASYNC110  # the same event lets threads go
            await asyncio.sleep(0.002)
        return number

    def _in_thread(self, number: int) -> int:
        self.runs.append(number)
        self.go_on.wait(30)
        return number


class AtMostOnceSuite(FeatureSuite):
    """Tests of ack="early"."""

    feature = "At most once"

    async def test_what_is_not_disturbed_ends_as_any_other(self, stage: Stage) -> None:
        """With its result or its error."""
        app = stage.app()

        @app.task(ack="early")
        async def work(x: int) -> int:
            if x < 0:
                raise ValueError("negative")
            return x

        async with stage.worker(app):
            assert await work.add_task(3).result(stage.patience_s) == 3
            with pytest.raises(TaskFailedError, match="ValueError: negative"):
                await work.add_task(-1).result(stage.patience_s)

    @requires(EVICTIONS)
    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_run_that_its_worker_lost_is_not_run_again(self, stage: Stage, where: str) -> None:
        """The next worker writes that the task is dead, with the reason, instead of running it."""
        app = stage.app()
        long = _Long(app, where, ack="early")
        async with stage.worker(app, name="lost", concurrency=1, shutdown_timeout=0):
            task = await long.task.add_task(1)
            await eventually(lambda: long.runs, stage.patience_s)

            async with stage.worker(app, name="next"):
                assert await app.core.evict("lost") == 1
                with pytest.raises(TaskDeadError, match="ack='early' runs it at most once"):
                    await task.result(stage.patience_s)
            long.go_on.set()

        assert long.runs == [1]
        assert task.status == "dead"

    @requires(EVICTIONS)
    async def test_by_default_it_is_run_again(self, stage: Stage) -> None:
        """At least once is the rule; at most once is asked for."""
        app = stage.app()
        long = _Long(app, "loop")
        async with stage.worker(app, name="lost", concurrency=1, shutdown_timeout=0):
            task = await long.task.add_task(1)
            await eventually(lambda: long.runs, stage.patience_s)

            async with stage.worker(app, name="next"):
                await app.core.evict("lost")
                await eventually(lambda: len(long.runs) == 2, stage.patience_s)
                long.go_on.set()
                assert await task.result(stage.patience_s) == 1

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_a_stop_that_cuts_it_short_does_not_give_it_back(self, stage: Stage, where: str) -> None:
        """After shutdown_timeout the task is dead; one that is run at least once goes to the next worker."""
        app = stage.app()
        long, usual = _Long(app, where, ack="early"), _Long(stage.app(), where)
        again = app.task(name="usual")(usual._in_thread if where == "thread" else usual._on_loop)  # noqa: SLF001  # its own
        async with stage.worker(app, shutdown_timeout=0.05):
            once, twice = await long.task.add_task(1), await again.add_task(2)
            await eventually(lambda: long.runs and usual.runs, stage.patience_s)
        async with stage.worker(app):
            with pytest.raises(TaskDeadError, match="ack='early' runs it at most once"):
                await once.result(stage.patience_s)
            await eventually(lambda: len(usual.runs) == 2, stage.patience_s)
            usual.go_on.set()
            long.go_on.set()
            assert await twice.result(stage.patience_s) == 2

        assert long.runs == [1]

    @requires(EVICTIONS)
    async def test_what_had_not_begun_is_run(self, stage: Stage) -> None:
        """Only runs that began are given up: what waits behind them goes to the next worker."""
        app = stage.app()
        long = _Long(app, "loop", ack="early")
        async with stage.worker(app, name="lost", concurrency=1, shutdown_timeout=0):
            tasks = await long.task.add_many([(number,) for number in range(5)])
            await eventually(lambda: long.runs, stage.patience_s)

            async with stage.worker(app, name="next"):
                await app.core.evict("lost")
                await tasks[0].wait(stage.patience_s)
                long.go_on.set()
                for task in tasks:
                    await task.wait(stage.patience_s)

        assert [task.status for task in tasks] == ["dead", *["success"] * 4]
        assert long.runs == [0, 1, 2, 3, 4]
