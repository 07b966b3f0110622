"""When a task runs: after a delay, at a time, and not after another."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
import time
from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import TaskCancelledError
from qtasks_core.gathering import gather
from qtasks_testing.kit.features.abilities import RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires

if TYPE_CHECKING:
    from qtasks_core.options import CallOptions
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["TimesSuite"]

SOON_S = 0.25
BEGUN_S = 1.5
"""A free worker has begun a task by then, also on a busy machine."""
CLOCK_S = 0.02
"""Two clocks are compared: so much may they differ."""
MANY, WITHIN_S = 200, 2.0
AHEAD_S = 1.5
"""So that all are added before the first is due."""


def _at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


class TimesSuite(FeatureSuite):
    """Tests of delay, eta and expires."""

    feature = "Delay, eta and expiry"

    @pytest.mark.parametrize("how", ["delay", "eta", "naive eta"])
    async def test_a_task_does_not_run_before_it_is_due(self, stage: Stage, how: str) -> None:
        """A delay in seconds, or a time; a time without a zone is local. It runs when it is due, though nobody asks."""
        app = stage.app()

        @app.task
        async def now() -> float:
            return time.time()

        due = time.time() + SOON_S
        options: CallOptions = {"delay": SOON_S}
        if how != "delay":
            options = {"eta": _at(due) if how == "eta" else _at(due).astimezone().replace(tzinfo=None)}
        async with stage.worker(app):
            began = await now.with_options(**options).add_task().result(stage.patience_s)

        assert began >= due - CLOCK_S

    async def test_what_is_ready_runs_before_what_is_not_due(self, stage: Stage) -> None:
        """Also when it was added later and is less urgent."""
        app = stage.app()
        ran: list[str] = []

        @app.task
        async def note(name: str) -> None:
            ran.append(name)

        later = await note.with_options(delay=2 * SOON_S, priority=-128).add_task("later")
        ready = await note.with_options(priority=127).add_task("ready")
        async with stage.worker(app, concurrency=1):
            await gather(later, ready, timeout=stage.patience_s)

        assert ran == ["ready", "later"]

    async def test_a_time_that_is_over_is_now(self, stage: Stage) -> None:
        """An eta of yesterday delays nothing."""
        app = stage.app()

        @app.task
        async def work() -> int:
            return 1

        async with stage.worker(app):
            late = work.with_options(eta=dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).add_task()
            assert await late.result(stage.patience_s) == 1

    @requires(RECORDS)
    async def test_a_task_that_is_not_due_waits_as_new(self, stage: Stage) -> None:
        """A free worker holds nothing back for it: it waits in the queue."""
        app = stage.app()

        @app.task
        async def work() -> None: ...

        async with stage.worker(app) as worker:
            task = await work.with_options(delay=3600).add_task()
            await asyncio.sleep(stage.silence_s)
            await task.refresh()
            assert (task.status, worker.running) == ("new", 0)

    async def test_a_delay_outlives_the_worker(self, stage: Stage) -> None:
        """It is kept by the queue: the worker that stops takes no delayed task with it."""
        app = stage.app()

        @app.task
        async def now() -> float:
            return time.time()

        due = time.time() + SOON_S
        async with stage.worker(app):
            task = await now.with_options(delay=SOON_S).add_task()
        async with stage.worker(app):
            assert await task.result(stage.patience_s) >= due - CLOCK_S

    @pytest.mark.parametrize("how", ["seconds", "time"])
    async def test_an_expired_task_does_not_start(self, stage: Stage, how: str) -> None:
        """Its status is cancel, with the reason."""
        app = stage.app()
        ran: list[str] = []

        @app.task
        async def note(name: str) -> None:
            ran.append(name)

        expires = 0.01 if how == "seconds" else _at(time.time() + 0.01)
        stale = await note.with_options(expires=expires).add_task("stale")
        await asyncio.sleep(0.05)
        async with stage.worker(app):
            fresh = await note.with_options(expires=stage.patience_s).add_task("fresh")
            with pytest.raises(TaskCancelledError, match="expired before it started"):
                await stale.result(stage.patience_s)
            await fresh.result(stage.patience_s)

        assert ran == ["fresh"]
        assert (stale.status, stale.reason) == ("cancel", "expired before it started")

    async def test_a_further_attempt_expires_too(self, stage: Stage) -> None:
        """What failed and is due again after its time is over is not tried again."""
        app = stage.app()
        attempts: list[float] = []

        @app.task(retry=5, retry_backoff=2 * BEGUN_S, retry_jitter=False)
        async def fails() -> None:
            attempts.append(time.time())
            raise ValueError("not yet")

        async with stage.worker(app):
            with pytest.raises(TaskCancelledError, match="expired"):
                await fails.with_options(expires=BEGUN_S).add_task().result(stage.patience_s)

        assert len(attempts) == 1

    async def test_each_of_many_runs_at_its_time_and_in_order(self, stage: Stage) -> None:
        """Two hundred within two seconds, added in any order: none early; who is due first begins first."""
        app = stage.app()
        began: list[tuple[int, float]] = []

        @app.task
        async def note(number: int) -> None:
            began.append((number, time.time()))

        shuffled = random.Random(3)  # noqa: S311  # times, the same each run
        first = time.time() + AHEAD_S
        dues = [first + WITHIN_S * shuffled.random() for _ in range(MANY)]
        async with stage.worker(app, concurrency=8):
            adding = [note.with_options(eta=_at(due)).add_task(number) for number, due in enumerate(dues)]
            tasks = await asyncio.gather(*adding)
            await gather(*tasks, timeout=WITHIN_S + AHEAD_S + stage.patience_s)

        late = sorted(at - dues[number] for number, at in began)
        stage.report("a task after its due time, median", late[MANY // 2])
        stage.report("a task after its due time, the latest", late[-1])
        assert late[0] >= -CLOCK_S
        order = [dues[number] for number, _ in began]
        apart = stage.subject.due_within_s
        assert [due for due, after in itertools.pairwise(order) if due > after + apart] == []
