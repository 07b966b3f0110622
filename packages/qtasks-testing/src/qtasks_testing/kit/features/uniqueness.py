"""Unique keys: of the tasks of one key only one waits or runs, and who adds another gets the first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.errors import TaskCancelledError, TaskFailedError
from qtasks_testing.kit.features.abilities import COMMANDS, RECORDS, UNIQUE_KEYS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["UniqueSuite"]

SOON_S = 0.3


class _Sync:
    """A task that notes with what it was called, and waits until it may end."""

    def __init__(self, app: QueueTasks, **options: Any) -> None:
        self.calls: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None
        self.task = app.task(name="sync", **options)(self._sync)

    async def _sync(self, what: str) -> str:
        self.calls.append(what)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return what


@requires(UNIQUE_KEYS)
class UniqueSuite(FeatureSuite):
    """Tests of unique_key and unique_ttl."""

    feature = "Unique keys"

    async def test_the_second_add_returns_the_first_task(self, stage: Stage) -> None:
        """The same uuid, the first call's arguments, one run; both get its result."""
        app = stage.app()
        sync = _Sync(app)
        first = await sync.task.with_options(unique_key="user:1").add_task("first")

        second = await sync.task.with_options(unique_key="user:1").add_task("second")

        assert second.uuid == first.uuid
        async with stage.worker(app):
            assert await first.result(stage.patience_s) == "first"
            assert await second.result(stage.patience_s) == "first"
        assert sync.calls == ["first"]

    @requires(RECORDS)
    async def test_what_is_returned_is_the_first_task_as_it_stands(self, stage: Stage) -> None:
        """Its arguments and options are those of the first call."""
        app = stage.app()
        sync = _Sync(app)
        first = await sync.task.with_options(unique_key="k", priority=3).add_task("first")
        second = await sync.task.with_options(unique_key="k", priority=9).add_task("second")

        assert (second.uuid, second.args, second.priority) == (first.uuid, ("first",), 3)

    async def test_a_running_task_holds_its_key(self, stage: Stage) -> None:
        """Until its end is written, not only until it starts."""
        app = stage.app()
        sync = _Sync(app)
        sync.go_on.clear()
        async with stage.worker(app):
            first = await sync.task.with_options(unique_key="k").add_task("first")
            await eventually(lambda: sync.calls, stage.patience_s)

            second = await sync.task.with_options(unique_key="k").add_task("second")

            sync.go_on.set()
            assert second.uuid == first.uuid
            await first.wait(stage.patience_s)

    @pytest.mark.parametrize("end", ["success", "error"])
    async def test_the_end_of_the_task_frees_its_key(self, stage: Stage, end: str) -> None:
        """However it ended."""
        app = stage.app()
        sync = _Sync(app)
        sync.error = None if end == "success" else ValueError("no")
        async with stage.worker(app):
            first = await sync.task.with_options(unique_key="k").add_task("first")
            await first.wait(stage.patience_s)
            assert first.status == end
            await self._until_free(stage, sync, first.uuid)

        assert sync.calls == ["first", "next"]

    @requires(COMMANDS)
    async def test_a_cancel_frees_the_key(self, stage: Stage) -> None:
        """That of a task that waits, too."""
        app = stage.app()
        sync = _Sync(app)
        first = await sync.task.with_options(unique_key="k").add_task("first")
        await first.cancel("not wanted")
        async with stage.worker(app):
            with pytest.raises(TaskCancelledError):
                await first.result(stage.patience_s)
            await self._until_free(stage, sync, first.uuid)

        assert sync.calls == ["next"]

    async def test_a_further_attempt_holds_the_key(self, stage: Stage) -> None:
        """Between two attempts the task has not ended."""
        app = stage.app()
        sync = _Sync(app, retry=1, retry_backoff=SOON_S, retry_jitter=False)
        sync.error = ValueError("not yet")
        async with stage.worker(app):
            first = await sync.task.with_options(unique_key="k").add_task("first")
            await eventually(lambda: sync.calls, stage.patience_s)
            second = await sync.task.with_options(unique_key="k").add_task("second")
            assert second.uuid == first.uuid
            with pytest.raises(TaskFailedError):
                await first.result(stage.patience_s)

        assert sync.calls == ["first", "first"]

    @pytest.mark.parametrize("of", ["call", "task"])
    async def test_its_time_frees_a_key(self, stage: Stage, of: str) -> None:
        """unique_ttl, of the task or of the call: after it another task may be added, and the first goes on."""
        app = stage.app()
        sync = _Sync(app, **({"unique_ttl": SOON_S} if of == "task" else {}))
        sync.go_on.clear()
        options: Any = {"unique_key": "k", **({"unique_ttl": SOON_S} if of == "call" else {})}
        async with stage.worker(app):
            first = await sync.task.with_options(**options).add_task("first")

            async def is_free() -> Any:
                other = await sync.task.with_options(**options).add_task("second")
                return other if other.uuid != first.uuid else None

            other = await eventually(is_free, stage.patience_s)
            sync.go_on.set()
            assert await first.result(stage.patience_s) == "first"
            assert await other.result(stage.patience_s) == "second"

        assert sorted(sync.calls) == ["first", "second"]

    async def test_other_keys_and_no_key_are_free(self, stage: Stage) -> None:
        """A key is a text that is equal or not; tasks of different names share it."""
        app = stage.app()
        sync = _Sync(app)
        added = [
            await sync.task.with_options(unique_key="k").add_task("a"),
            await sync.task.with_options(unique_key="K").add_task("b"),
            await sync.task.add_task("c"),
            await sync.task.add_task("d"),
        ]

        assert len({task.uuid for task in added}) == 4
        other = await app.with_options(unique_key="k").add_task("another name", 1)
        assert other.uuid == added[0].uuid

    async def test_of_many_that_come_at_once_one_is_added(self, stage: Stage) -> None:
        """From two event loops, and within one batch."""
        app = stage.app()
        sync = _Sync(app)
        keyed = sync.task.with_options(unique_key="k")

        async def add() -> set[Any]:
            tasks = await asyncio.gather(*(keyed.add_task(f"{number}") for number in range(20)))
            return {task.uuid for task in tasks}

        async def add_elsewhere() -> set[Any]:
            try:
                return await add()
            finally:
                await app.stop()

        here, there = await asyncio.gather(add(), asyncio.to_thread(lambda: asyncio.run(add_elsewhere())))
        many = await keyed.add_many([(f"{number}",) for number in range(20)])

        assert here == there == {task.uuid for task in many}
        assert len(here) == 1
        async with stage.worker(app):
            await many[0].wait(stage.patience_s)
        assert len(sync.calls) == 1

    async def test_a_key_is_an_apps_own(self, stage: Stage) -> None:
        """Another app may hold the same one."""
        apps = (stage.app(), stage.app())
        tasks = [await _Sync(app).task.with_options(unique_key="k").add_task("a") for app in apps]

        assert tasks[0].uuid != tasks[1].uuid

    async def _until_free(self, stage: Stage, sync: _Sync, held_by: Any) -> None:
        """Add another task of the key; where the worker frees it after the end, that may take a moment."""

        async def another() -> Any:
            task = await sync.task.with_options(unique_key="k").add_task("next")
            return task if task.uuid != held_by else None

        await (await eventually(another, stage.patience_s)).wait(stage.patience_s)
