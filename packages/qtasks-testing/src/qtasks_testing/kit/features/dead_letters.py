"""Dead letters: what came to no good end is looked at, sent again, or deleted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.contract import Envelope
from qtasks_core.errors import ConfigError, TaskDeadError, TaskFailedError, WireError
from qtasks_core.naming import new_uuid
from qtasks_testing.kit.features.abilities import DEAD_LETTERS, RECORDS, UNIQUE_KEYS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from qtasks_core.aio import QueueTasks
    from qtasks_core.dead_letters import DeadLetter
    from qtasks_core.task import Task
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["DeadLetterSuite"]

SOON_S = 0.3


class _Order:
    """A task that fails while the shop is closed, and notes its attempts."""

    def __init__(self, app: QueueTasks, **options: Any) -> None:
        self.is_closed = True
        self.attempts: list[int] = []
        self.task = app.task(name="order", echo=True, **options)(self._order)

    async def _order(self, context: Any, number: int, *, of: str = "tea") -> str:
        self.attempts.append(context.attempt)
        if self.is_closed:
            raise ValueError(f"closed for {number}")
        return f"{number} {of}"


async def _letters(app: QueueTasks, queue: str | None = None) -> list[DeadLetter]:
    return [letter async for letter in app.dead_letters.list(queue)]


@requires(DEAD_LETTERS, RECORDS)
class DeadLetterSuite(FeatureSuite):
    """Tests of app.dead_letters."""

    feature = "Dead letters"

    # ---------------------------------------------------------------- looking

    async def test_a_task_that_failed_for_good_is_listed(self, stage: Stage) -> None:
        """With all that is needed to know what it was, and why it is there."""
        app = stage.app()
        order = _Order(app, retry=1, retry_backoff=0.0)
        before = time.time()
        (task,) = await self._dead(stage, app, order, 1)

        (letter,) = await _letters(app)

        assert (letter.uuid, letter.task_name, letter.queue) == (task.uuid, "order", "default")
        assert (letter.args, letter.kwargs, letter.attempt) == ((0,), {"of": "milk"}, 2)
        assert (letter.reason, letter.problem, letter.replays) == ("ValueError: closed for 0", None, 0)
        assert before - 1 <= letter.created_at <= time.time() + 1
        assert letter.cursor

    async def test_the_oldest_is_the_first(self, stage: Stage) -> None:
        """In the order of their deaths."""
        app = stage.app()
        tasks = await self._dead(stage, app, _Order(app), 3)

        assert [letter.uuid for letter in await _letters(app)] == [task.uuid for task in tasks]

    async def test_what_ended_otherwise_is_not_listed(self, stage: Stage) -> None:
        """Neither a success, nor what its task does not want to be kept."""
        app = stage.app()
        order = _Order(app, dead_letter=False)
        await self._dead(stage, app, order, 1)
        order.is_closed = False
        async with stage.worker(app):
            await order.task.add_task(1).result(stage.patience_s)

        assert await _letters(app) == []

    async def test_each_queue_has_its_own(self, stage: Stage) -> None:
        """One is named, or all that the app's settings and tasks name."""
        app = stage.app(queues=("first", "second"))
        order = _Order(app, queue="third")
        async with stage.worker(app, queues=("second", "third")):
            third = await order.task.add_task(3)
            second = await order.task.with_options(queue="second").add_task(2)
            for task in (third, second):
                await task.wait(stage.patience_s)

        assert [letter.uuid for letter in await _letters(app, "third")] == [third.uuid]
        assert [(letter.queue, letter.uuid) for letter in await _letters(app)] == [
            ("second", second.uuid),
            ("third", third.uuid),
        ]
        assert await _letters(app, "first") == []

    async def test_one_that_cannot_be_read_shows_its_bytes(self, stage: Stage) -> None:
        """Why it cannot be read is told, and it is left where it is; it can be deleted."""
        app = stage.app()
        uuid = await self._send(app, b"garbage")
        async with stage.worker(app):
            await eventually(lambda: _letters(app), stage.patience_s)

        (letter,) = await _letters(app)
        assert (letter.uuid, letter.task_name, letter.raw, letter.is_damaged) == (uuid, "", b"garbage", True)
        assert letter.problem is not None
        assert "expected a body that begins with" in letter.problem
        with pytest.raises(WireError, match="expected a body that begins with"):
            _ = letter.args
        assert await app.dead_letters.replay() == 0
        assert await app.dead_letters.replay(uuids=[uuid]) == 0
        assert await app.dead_letters.purge(uuids=[uuid]) == 1
        assert await _letters(app) == []

    # ---------------------------------------------------------------- sending again

    async def test_sent_again_it_runs_as_a_new_task_would(self, stage: Stage) -> None:
        """Under its uuid, from attempt 1 and with all its retries; its result can be waited for."""
        app = stage.app()
        order = _Order(app, retry=2, retry_backoff=0.0)
        (task,) = await self._dead(stage, app, order, 1)
        assert order.attempts == [1, 2, 3]

        assert await app.dead_letters.replay() == 1
        assert await _letters(app) == []
        async with stage.worker(app):
            await eventually(lambda: len(order.attempts) == 6, stage.patience_s)
            order.attempts.clear()
            await eventually(lambda: _letters(app), stage.patience_s)
            order.is_closed = False
            assert await app.dead_letters.replay() == 1
            again = await self._handle(app, task)
            assert await again.result(stage.patience_s) == "0 milk"

        assert order.attempts == [1]
        assert await _letters(app) == []

    async def test_its_final_record_is_opened_again(self, stage: Stage) -> None:
        """From the moment at which it is sent again it is a task that waits."""
        app = stage.app()
        order = _Order(app)
        (task,) = await self._dead(stage, app, order, 1)
        assert (await app.get(task.uuid)).status == "error"

        await app.dead_letters.replay()

        again = await app.get(task.uuid)
        assert (again.status, again.attempt, again.error, again.finished_at) == ("new", 1, None, None)
        waiting = asyncio.create_task(again.result())
        await asyncio.sleep(stage.silence_s)
        assert not waiting.done()
        order.is_closed = False
        async with stage.worker(app):
            assert await asyncio.wait_for(waiting, stage.patience_s) == "0 milk"
            assert (await task.refresh()).status == "success"

    async def test_what_fails_again_is_dead_again(self, stage: Stage) -> None:
        """With the number of times that it was sent again; and so on."""
        app = stage.app()
        order = _Order(app)
        (task,) = await self._dead(stage, app, order, 1)
        async with stage.worker(app):
            for replays in (1, 2):
                await app.dead_letters.replay()
                (letter,) = await eventually(lambda: _letters(app), stage.patience_s)
                assert (letter.uuid, letter.replays, letter.attempt) == (task.uuid, replays, 1)
                with pytest.raises(TaskFailedError, match="closed for 0"):
                    await (await self._handle(app, task)).result(stage.patience_s)

        assert order.attempts == [1, 1, 1]

    @pytest.mark.parametrize("by", ["uuids", "cursors", "where"])
    @pytest.mark.parametrize("what", ["replay", "purge"])
    async def test_some_may_be_chosen(self, stage: Stage, by: str, what: str) -> None:
        """By uuid, by place, or by what they are; the others stay."""
        app = stage.app()
        tasks = await self._dead(stage, app, _Order(app), 4)
        letters = await _letters(app)
        chosen: dict[str, dict[str, Any]] = {
            "uuids": {"uuids": [tasks[0].uuid, tasks[2].uuid, new_uuid()]},
            "cursors": {"queue": "default", "cursors": [letters[0].cursor, letters[2].cursor]},
            "where": {"where": lambda letter: letter.args[0] in {0, 2}},
        }

        assert await getattr(app.dead_letters, what)(**chosen[by]) == 2

        assert [letter.uuid for letter in await _letters(app)] == [tasks[1].uuid, tasks[3].uuid]
        assert (await app.core.engine().broker.depth("default")).ready == (2 if what == "replay" else 0)

    async def test_all_that_is_said_has_to_be_so(self, stage: Stage) -> None:
        """Two conditions, one letter; the letters of other queues are not looked at."""
        app = stage.app()
        tasks = await self._dead(stage, app, _Order(app), 3)
        uuids = [task.uuid for task in tasks[:2]]

        assert await app.dead_letters.replay("other", uuids=uuids) == 0
        assert await app.dead_letters.replay("default", uuids=uuids, where=lambda letter: letter.args[0] > 0) == 1
        assert [letter.uuid for letter in await _letters(app)] == [tasks[0].uuid, tasks[2].uuid]

    async def test_a_place_needs_its_queue(self, stage: Stage) -> None:
        """Places of two queues may look alike."""
        app = stage.app()
        for wrong in ({"cursors": ["1"]}, {"queue": "default", "cursors": "1"}):
            options: dict[str, Any] = wrong
            with pytest.raises(ConfigError, match="cursors: expected a list, and queue= beside it"):
                await app.dead_letters.replay(**options)
            with pytest.raises(ConfigError, match="cursors: expected a list, and queue= beside it"):
                await app.dead_letters.purge(**options)

    async def test_it_is_due_now_and_does_not_expire(self, stage: Stage) -> None:
        """Whoever sends it again means it, however long it has been dead."""
        app = stage.app()
        order = _Order(app)
        async with stage.worker(app):
            task = await order.task.with_options(expires=SOON_S).add_task(0, of="milk")
            await task.wait(stage.patience_s)
            assert task.status == "error"
            await asyncio.sleep(SOON_S)
            order.is_closed = False
            await app.dead_letters.replay()
            assert await (await self._handle(app, task)).result(stage.patience_s) == "0 milk"

    async def test_what_nobody_knew_runs_when_somebody_does(self, stage: Stage) -> None:
        """A worker of a later release."""
        app = stage.app(unknown_ttl=SOON_S, park_delay=0.05)
        task = await app.add_task("order", 7)
        async with stage.worker(app):
            with pytest.raises(TaskDeadError, match="no worker knows the task name 'order'"):
                await task.result(stage.patience_s)
        order = _Order(app)
        order.is_closed = False

        assert await app.dead_letters.replay() == 1
        async with stage.worker(app):
            assert await (await self._handle(app, task)).result(stage.patience_s) == "7 tea"

    async def test_its_stream_begins_anew(self, stage: Stage) -> None:
        """What the life before had yielded is gone, though that counted more attempts."""
        app, is_closed = stage.app(), True

        @app.task(retry=2, retry_backoff=0.0)
        async def count() -> AsyncIterator[int]:
            for number in range(3):
                yield number + (10 if is_closed else 0)
            if is_closed:
                raise ValueError("closed")

        async with stage.worker(app):
            task = await count.add_task()
            await task.wait(stage.patience_s)
            await eventually(lambda: _letters(app), stage.patience_s)
            is_closed = False
            await app.dead_letters.replay()
            again = await self._handle(app, task)
            assert await again.result(stage.patience_s) == [0, 1, 2]
            assert [value async for value in again.stream()] == [0, 1, 2]

    @requires(UNIQUE_KEYS)
    async def test_it_takes_its_unique_key_again(self, stage: Stage) -> None:
        """Unless another task has it by now; then both run."""
        app = stage.app()
        order = _Order(app)
        async with stage.worker(app):
            keyed = order.task.with_options(unique_key="k")
            task = await keyed.add_task(0, of="milk")
            await task.wait(stage.patience_s)
            await eventually(lambda: _letters(app), stage.patience_s)
        await app.dead_letters.replay()
        assert (await keyed.add_task(1)).uuid == task.uuid

        async with stage.worker(app):
            await eventually(lambda: _letters(app), stage.patience_s)
        other = await keyed.add_task(2)
        assert other.uuid != task.uuid
        assert await app.dead_letters.replay() == 1
        assert (await keyed.add_task(3)).uuid == other.uuid
        order.is_closed = False
        async with stage.worker(app):
            assert await other.result(stage.patience_s) == "2 tea"
            assert await (await self._handle(app, task)).result(stage.patience_s) == "0 milk"

    # ---------------------------------------------------------------- deleting, and the other face

    async def test_all_are_deleted(self, stage: Stage) -> None:
        """What is known of the tasks stays."""
        app = stage.app()
        tasks = await self._dead(stage, app, _Order(app), 3)

        assert await app.dead_letters.purge("other") == 0
        assert await app.dead_letters.purge() == 3

        assert await _letters(app) == []
        with pytest.raises(TaskFailedError, match="closed for 2"):
            await tasks[2].result(stage.patience_s)

    async def test_the_blocking_face_does_the_same(self, stage: Stage) -> None:
        """A condition is asked in the thread of the caller."""
        app = stage.app()
        order = _Order(app)
        tasks = await self._dead(stage, app, order, 4)
        letters, uuids = stage.blocking(app).dead_letters, [task.uuid for task in tasks]

        def operate() -> None:
            assert [letter.uuid for letter in letters.list()] == uuids
            assert letters.replay(where=lambda letter: letter.uuid == uuids[1]) == 1
            assert letters.purge("default", uuids=uuids[:1]) == 1
            assert letters.replay("default") == 2
            assert list(letters.list("default")) == []

        await asyncio.to_thread(operate)
        order.is_closed = False
        async with stage.worker(app):
            for task in tasks[1:]:
                await (await self._handle(app, task)).result(stage.patience_s)

    # ---------------------------------------------------------------- how

    async def _dead(self, stage: Stage, app: QueueTasks, order: _Order, count: int) -> list[Task[Any]]:
        """Add tasks, one after the other, that fail for good."""
        tasks = []
        async with stage.worker(app):
            for number in range(count):
                tasks.append(await order.task.add_task(number, of="milk"))
                await tasks[-1].wait(stage.patience_s)
        return tasks

    async def _handle(self, app: QueueTasks, task: Task[Any]) -> Task[Any]:
        """Return the task as one that waits: by its uuid, as whoever sends it again would."""
        return await app.get(task.uuid)

    async def _send(self, app: QueueTasks, body: bytes) -> UUID:
        engine, uuid = app.core.engine(), new_uuid()
        await engine.ensure_started()
        assert list(await engine.broker.send([Envelope(uuid, "default", body)])) == [None]
        return uuid
