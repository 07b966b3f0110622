"""Which task goes first: the most urgent of those that wait, then the oldest."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from qtasks_core.gathering import gather
from qtasks_testing.kit.features.abilities import STRICT_PRIORITY
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.calls import AsyncTaskFunction
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["PrioritySuite"]

MANY = 300


class _Slot:
    """Holds the only slot of a worker until it is let go."""

    def __init__(self, app: QueueTasks) -> None:
        self.held = asyncio.Event()
        self._free = asyncio.Event()

        @app.task
        async def hold() -> None:
            self.held.set()
            await self._free.wait()

        self.task: AsyncTaskFunction[[], None, Any] = hold

    def free(self) -> None:
        self._free.set()


class PrioritySuite(FeatureSuite):
    """Tests of priority, under load."""

    feature = "Priority"

    async def test_lower_numbers_go_first(self, stage: Stage) -> None:
        """Also where only declared bands are told apart."""
        app = stage.app(priority_bands=(-10, 0, 10))
        ran: list[int] = []

        @app.task
        async def note(priority: int) -> None:
            ran.append(priority)

        tasks = [await note.with_options(priority=one).add_task(one) for one in (10, 0, -10, 0, 10, -10)]
        async with stage.worker(app, concurrency=1):
            await gather(*tasks, timeout=stage.patience_s)

        assert ran == [-10, -10, 0, 0, 10, 10]

    async def test_the_call_goes_before_the_task(self, stage: Stage) -> None:
        """The task's priority is what its calls have when they say nothing."""
        app = stage.app()

        @app.task(priority=5)
        async def work() -> None: ...

        assert (await work.add_task()).priority == 5
        assert (await work.with_options(priority=-7).add_task()).priority == -7
        assert (await work.with_options(priority=0).add_task()).priority == 0

    @requires(STRICT_PRIORITY)
    async def test_of_many_that_wait_the_most_urgent_goes_first_then_the_oldest(self, stage: Stage) -> None:
        """Three hundred, over the whole range, added while a worker is busy."""
        app = stage.app()
        ran: list[tuple[int, int]] = []

        @app.task
        async def note(priority: int, number: int) -> None:
            ran.append((priority, number))

        slot = _Slot(app)
        shuffled = random.Random(4)  # noqa: S311  # priorities, the same each run
        async with stage.worker(app, concurrency=1):
            holding = await slot.task.add_task()
            await asyncio.wait_for(slot.held.wait(), stage.patience_s)
            tasks = []
            for number in range(MANY):
                priority = shuffled.choice((-128, -3, 0, 3, 127))
                tasks.append(await note.with_options(priority=priority).add_task(priority, number))
            slot.free()
            await gather(*tasks, timeout=2 * stage.patience_s)
            await holding.result(stage.patience_s)

        assert ran == sorted(ran)
        assert len(ran) == MANY

    @requires(STRICT_PRIORITY)
    async def test_what_comes_later_and_is_more_urgent_overtakes_a_whole_queue(self, stage: Stage) -> None:
        """What counts is what waits when the slot is filled: nothing is taken in advance."""
        app = stage.app()
        ran: list[str] = []

        @app.task(priority=-1)
        async def urgent(number: int) -> None:
            ran.append(f"urgent {number}")

        @app.task
        async def plain(number: int) -> None:
            ran.append(f"plain {number}")
            if number % 10 == 0:
                await urgent.add_task(number)

        slot = _Slot(app)
        async with stage.worker(app, concurrency=1):
            holding = await slot.task.add_task()
            await asyncio.wait_for(slot.held.wait(), stage.patience_s)
            tasks = await plain.add_many([(number,) for number in range(100)])
            slot.free()
            await gather(*tasks, timeout=2 * stage.patience_s)
            await holding.result(stage.patience_s)

        expected = []
        for number in range(100):
            expected.append(f"plain {number}")
            if number % 10 == 0:
                expected.append(f"urgent {number}")
        assert ran == expected
