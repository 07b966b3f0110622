"""Ways to queue calls and to wait for them, of the awaitable and of the blocking face."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from qtasks_core.errors import (
    BlockingCallError,
    ConfigError,
    ResultExpiredError,
    TaskCancelledError,
    TaskFailedError,
)
from qtasks_core.gathering import as_completed, as_completed_blocking, gather, gather_blocking
from qtasks_core.naming import new_uuid
from qtasks_core.task_context import AsyncTaskContext  # noqa: TC001  # read at run time
from qtasks_testing.kit.features.abilities import COMMANDS, PROCESSES, RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks
    from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["CallsSuite"]


class _Tasks:
    """Some tasks, declared with the awaitable face."""

    def __init__(self, app: QueueTasks) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.add = app.task(name="add")(self._add)
        self.fail = app.task(name="fail")(self._fail)
        self.wait = app.task(name="wait")(self._wait)

    async def _add(self, x: int, y: int = 1) -> int:
        return x + y

    async def _fail(self, text: str) -> None:
        raise ValueError(text)

    async def _wait(self, name: str) -> str:
        await self.gate(name).wait()
        return name

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())


class _BlockingTasks:
    """The same, declared with the blocking face."""

    def __init__(self, app: BlockingQueueTasks) -> None:
        @app.task
        def add(x: int, y: int = 1) -> int:
            return x + y

        @app.task
        def fail(text: str) -> None:
            raise ValueError(text)

        @app.task
        def numbers(count: int) -> Any:
            yield from range(count)

        self.add, self.fail, self.numbers = add, fail, numbers


class CallsSuite(FeatureSuite):
    """Tests of add_task, with_options, add_many, get, gather, as_completed, and of both faces."""

    feature = "Calls"

    # ---------------------------------------------------------------- one call

    async def test_a_call_is_added_and_waited_for_in_one_or_in_two_steps(self, stage: Stage) -> None:
        """`await add_task(…)` is the task, `await add_task(…).result()` its value; a plain call runs here and now."""
        app = stage.app()
        tasks = _Tasks(app)
        async with stage.worker(app):
            task = await tasks.add.add_task(1, y=2)
            assert await task.result(stage.patience_s) == 3
            assert await tasks.add.add_task(4).result(stage.patience_s) == 5
            assert (await tasks.add.add_task(5).wait(stage.patience_s)).returning == 6
        assert await tasks.add(6) == 7

        assert (task.status, task.args, task.kwargs, task.returning) == ("success", (1,), {"y": 2}, 3)

    async def test_a_call_that_is_never_awaited_sends_nothing_and_warns(self, stage: Stage) -> None:
        """The warning names the task."""
        app = stage.app()
        tasks = _Tasks(app)

        call: Any = tasks.add.add_task(1)
        with pytest.warns(RuntimeWarning, match="'add' was never awaited"):
            del call

        depth = await self._depth(app)
        assert depth.ready in {0, None}

    async def test_what_the_function_would_not_take_is_refused_at_the_call(self, stage: Stage) -> None:
        """TypeError where the mistake is, not in a worker; one bad call of many sends none of them."""
        app = stage.app()
        tasks = _Tasks(app)

        with pytest.raises(TypeError, match=r"add\(\) missing a required argument: 'x'"):
            tasks.add.add_task()  # type: ignore[call-arg]  # that is the test
        with pytest.raises(TypeError, match=r"add\(\) got an unexpected keyword argument 'z'"):
            tasks.add.add_task(1, z=2)  # type: ignore[call-arg]  # that is the test
        with pytest.raises(TypeError, match=r"add\(\) too many positional arguments"):
            await tasks.add.add_many([(1,), (1, 2, 3)])

        depth = await self._depth(app)
        assert depth.ready in {0, None}

    async def test_options_are_those_of_the_next_calls_only(self, stage: Stage) -> None:
        """with_options() returns another object; its options replace those set before."""
        app = stage.app()
        tasks = _Tasks(app)
        urgent = tasks.add.with_options(priority=-5, queue="mail")

        first, second = await urgent.add_task(1), await urgent.with_options(queue="slow").add_task(1)
        plain = await tasks.add.add_task(1)

        assert [(one.priority, one.queue) for one in (first, second, plain)] == [
            (-5, "mail"),
            (0, "slow"),
            (0, "default"),
        ]

    async def test_every_option_of_a_call_reaches_the_task(self, stage: Stage) -> None:
        """Those that a run can see of itself."""
        app = stage.app()
        uuid = new_uuid()

        @app.task(echo=True)
        async def look(ctx: AsyncTaskContext) -> list[Any]:
            return [ctx.task_uuid, ctx.queue, ctx.priority, dict(ctx.headers)]

        chosen = look.with_options(
            uuid=uuid, queue="mail", priority=7, headers={"a": "b"}, timeout=60, retry=2, key="k"
        )
        async with stage.worker(app, queues=("mail",)):
            assert await chosen.add_task().result(stage.patience_s) == [str(uuid), "mail", 7, {"a": "b"}]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"prority": 1}, "priority"),
            ({"priority": 300}, "priority"),
            ({"delay": 1, "eta": "tomorrow"}, "eta"),
            ({"timeout": 0}, "timeout"),
            ({"unique_ttl": 5}, "unique_key"),
        ],
    )
    async def test_a_wrong_option_is_refused_where_it_is_set(
        self, stage: Stage, options: dict[str, Any], expected: str
    ) -> None:
        """With what was expected, by the task's and by the app's with_options."""
        app = stage.app()
        tasks = _Tasks(app)

        for way in (tasks.add, app):
            with pytest.raises(ConfigError, match=expected):
                way.with_options(**options)

    async def test_a_call_by_name_needs_no_function(self, stage: Stage) -> None:
        """The arguments are the task's; where the function is known they are checked all the same."""
        app = stage.app()
        _Tasks(app)
        async with stage.worker(app):
            assert await app.add_task("add", 1, y=5).result(stage.patience_s) == 6
            task = await app.with_options(priority=4).add_task("add", 1)
            assert await task.result(stage.patience_s) == 2
        with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
            app.add_task("add", 1, z=1)

        assert task.priority == 4

    @requires(PROCESSES)
    async def test_a_process_without_the_code_adds_by_name(self, stage: Stage) -> None:
        """And gets the result as plain data."""
        app = stage.app()
        _Tasks(app)
        stranger = stage.twin(app)
        async with stage.worker(app):
            assert await stranger.add_task("add", 1, y=5).result(stage.patience_s) == 6

    async def test_adding_the_same_uuid_again_returns_the_first_task(self, stage: Stage) -> None:
        """So an add whose answer was lost can be repeated safely."""
        app = stage.app()
        ran: list[int] = []

        @app.task
        async def note(number: int) -> int:
            ran.append(number)
            return number

        chosen = note.with_options(uuid=new_uuid())
        first, second = await chosen.add_task(1), await chosen.add_task(2)
        async with stage.worker(app):
            assert await first.result(stage.patience_s) == await second.result(stage.patience_s) == 1
            await note.add_task(3).result(stage.patience_s)

        assert ran == [1, 3]

    # ---------------------------------------------------------------- many calls

    async def test_many_calls_are_added_at_once(self, stage: Stage) -> None:
        """A tuple or a mapping for each; the tasks come back in their order."""
        app = stage.app()
        tasks = _Tasks(app)
        async with stage.worker(app):
            many = await tasks.add.add_many([(1, 2), {"x": 3}, (5,), {"x": 7, "y": 7}])
            assert await gather(*many, timeout=stage.patience_s) == [3, 4, 6, 14]
            assert await tasks.add.add_many([]) == []
            thousand = await tasks.add.add_many((number, 0) for number in range(1000))
            assert await gather(*thousand, timeout=2 * stage.patience_s) == list(range(1000))

    async def test_gather_returns_the_values_in_the_order_of_the_tasks(self, stage: Stage) -> None:
        """Whatever the order of their ends; of nothing it is empty."""
        app = stage.app()
        tasks = _Tasks(app)
        async with stage.worker(app):
            many = [await tasks.wait.add_task(name) for name in "abc"]
            gathering = asyncio.ensure_future(gather(*many, timeout=stage.patience_s))
            for name in "cab":
                tasks.gate(name).set()
                await many["abc".index(name)].wait(stage.patience_s)
            assert await gathering == ["a", "b", "c"]
            nothing: list[str] = await gather()
            assert nothing == []

    async def test_gather_raises_the_first_failure_and_the_others_go_on(self, stage: Stage) -> None:
        """Nothing is cancelled by it."""
        app = stage.app()
        tasks = _Tasks(app)
        async with stage.worker(app):
            slow: Any = await tasks.wait.add_task("slow")
            bad = await tasks.fail.add_task("bad")
            with pytest.raises(TaskFailedError, match="ValueError: bad"):
                await gather(slow, bad, timeout=stage.patience_s)
            tasks.gate("slow").set()
            assert await slow.result(stage.patience_s) == "slow"

    async def test_as_completed_yields_each_task_when_it_has_ended(self, stage: Stage) -> None:
        """In the order of their ends, also those that failed; their values are there."""
        app = stage.app()
        tasks = _Tasks(app)
        ended: list[Any] = []
        async with stage.worker(app):
            many: list[Any] = [await tasks.wait.add_task(name) for name in "abc"]
            many.append(await tasks.fail.add_task("bad"))
            async for task in as_completed(many, timeout=stage.patience_s):
                ended.append(task.returning or task.status)
                if len(ended) <= 3:
                    tasks.gate("cab"[len(ended) - 1]).set()

        assert ended == ["error", "c", "a", "b"]

    async def test_waiting_has_its_limit_and_the_task_goes_on(self, stage: Stage) -> None:
        """TimeoutError of result, wait, gather and as_completed is the caller's, not the task's."""
        app = stage.app()
        tasks = _Tasks(app)
        async with stage.worker(app):
            task = await tasks.wait.add_task("slow")
            with pytest.raises(TimeoutError):
                await task.result(timeout=0.01)
            with pytest.raises(TimeoutError):
                await task.wait(timeout=0.01)
            with pytest.raises(TimeoutError):
                await tasks.wait.add_task("slow").result(timeout=0.01)
            with pytest.raises(TimeoutError):
                await gather(task, timeout=0.01)
            with pytest.raises(TimeoutError):
                async for _ in as_completed([task], timeout=0.01):
                    pass
            tasks.gate("slow").set()
            assert await task.result(stage.patience_s) == "slow"

    # ---------------------------------------------------------------- what is known of a task

    @requires(RECORDS)
    async def test_a_task_is_read_by_its_uuid(self, stage: Stage) -> None:
        """A snapshot, renewed by refresh(); an unknown uuid is an error."""
        app = stage.app()
        tasks = _Tasks(app)
        task = await tasks.wait.with_options(priority=2).add_task("a")
        read = await app.get(task.uuid)
        assert (read.status, read.args, read.priority) == ("new", ("a",), 2)
        async with stage.worker(app, name="reader"):
            tasks.gate("a").set()
            await task.result(stage.patience_s)
        assert read.status == "new"
        await read.refresh()

        assert (read.status, read.returning, read.worker, read.attempt) == ("success", "a", "reader", 1)
        assert read.started_at is not None
        assert read.finished_at is not None
        assert read.created_at <= read.started_at <= read.finished_at <= time.time() + 1
        with pytest.raises(ResultExpiredError, match="nothing is known of task"):
            await app.get(new_uuid())

    @pytest.mark.parametrize("how", ["call", "task"])
    async def test_a_result_that_nobody_keeps_is_refused_at_once(self, stage: Stage, how: str) -> None:
        """results=False, or result_ttl=0 of the task: who asks all the same need not wait for it."""
        app = stage.app()
        ran = asyncio.Event()

        async def note() -> None:
            ran.set()

        task = app.task(name="note", result_ttl=0 if how == "task" else None)(note)
        options: Any = {"results": False} if how == "call" else {}
        async with stage.worker(app):
            added = await task.with_options(**options).add_task()
            with pytest.raises(ResultExpiredError):
                await added.result(stage.patience_s)
            await asyncio.wait_for(ran.wait(), stage.patience_s)

    async def test_a_result_comes_back_as_the_function_is_annotated(self, stage: Stage) -> None:
        """Where the caller has the function; by name it is plain data."""
        app = stage.app()

        @app.task
        def pair(x: int) -> tuple[int, UUID]:
            return x, UUID(int=x)

        async with stage.worker(app):
            task = await pair.add_task(3)
            assert await task.result(stage.patience_s) == (3, UUID(int=3))
            assert await app.add_task("pair", 3).result(stage.patience_s) == [3, str(UUID(int=3))]

    # ---------------------------------------------------------------- the blocking face

    async def test_the_blocking_face_adds_and_waits(self, stage: Stage) -> None:
        """From a thread that has no event loop: one call, many, by name, with options, read again."""
        app = stage.app()
        face = stage.blocking(app)
        tasks = _BlockingTasks(face)

        def use() -> None:
            task = tasks.add.add_task(1, y=2)
            assert task.result(stage.patience_s) == 3
            assert task.wait(stage.patience_s).status == "success"
            assert tasks.add.with_options(priority=3).add_task(1).priority == 3
            assert face.add_task("add", 2).result(stage.patience_s) == 3
            assert face.with_options(queue="default").add_task("add", 3).result(stage.patience_s) == 4
            many = tasks.add.add_many([(1,), {"x": 2}])
            assert gather_blocking(*many, timeout=stage.patience_s) == [2, 3]
            assert gather_blocking() == []
            with pytest.raises(TaskFailedError, match="ValueError: bad"):
                tasks.fail.add_task("bad").result(stage.patience_s)

        async with stage.worker(app):
            await asyncio.to_thread(use)

    async def test_the_blocking_face_waits_for_many(self, stage: Stage) -> None:
        """as_completed yields the same objects, renewed; streams are plain iterators."""
        app = stage.app()
        tasks = _BlockingTasks(stage.blocking(app))

        def use() -> None:
            many = tasks.add.add_many([(number,) for number in range(10)])
            ended = list(as_completed_blocking(many, timeout=stage.patience_s))
            assert {id(task) for task in ended} == {id(task) for task in many}
            assert sorted(task.returning or 0 for task in ended) == list(range(1, 11))
            assert list(as_completed_blocking([])) == []
            task = tasks.numbers.add_task(5)
            assert list(task.stream()) == [0, 1, 2, 3, 4]
            with contextlib.closing(task.stream()) as stream:  # type: ignore[type-var]  # it is a generator
                assert next(stream) == 0

        async with stage.worker(app):
            await asyncio.to_thread(use)

    @requires(RECORDS, COMMANDS)
    async def test_the_blocking_face_cancels_and_reads(self, stage: Stage) -> None:
        """cancel, get and refresh, as their awaitable twins."""
        app = stage.app()
        face = stage.blocking(app)
        tasks = _BlockingTasks(face)

        def use() -> None:
            task = tasks.add.with_options(delay=3600).add_task(1)
            read = face.get(task.uuid)
            assert read.status == "new"
            assert task.cancel("not wanted") is True

        async with stage.worker(app):
            await asyncio.to_thread(use)
            task = await asyncio.to_thread(tasks.add.add_task, 1)
            await task.aio.wait(stage.patience_s)
            assert (await asyncio.to_thread(task.refresh)).returning == 2

    async def test_a_blocking_call_on_the_loop_names_the_way_out(self, stage: Stage) -> None:
        """It never blocks the loop: the error says what to await."""
        app = stage.app()
        face = stage.blocking(app)
        tasks = _BlockingTasks(face)

        with pytest.raises(BlockingCallError, match=r"await task\.aio\.add_task\(…\) instead"):
            tasks.add.add_task(1)
        with pytest.raises(BlockingCallError, match=r"await app\.aio\.add_task\(…\) instead"):
            face.add_task("add", 1)
        async with stage.worker(app):
            assert await tasks.add.aio.add_task(1).result(stage.patience_s) == 2

    async def test_both_faces_raise_the_same(self, stage: Stage) -> None:
        """For a failed, a cancelled and an unknown task."""
        app = stage.app()
        face = stage.blocking(app)

        @app.task(echo=True)
        async def giving_up(ctx: AsyncTaskContext) -> None:
            ctx.cancel("nothing to do")

        def use() -> None:
            with pytest.raises(TaskCancelledError, match="nothing to do"):
                face.add_task("giving_up").result(stage.patience_s)
            with pytest.raises(TimeoutError):
                face.with_options(queue="nobody").add_task("giving_up").result(timeout=0.01)

        async with stage.worker(app):
            await asyncio.to_thread(use)
            with pytest.raises(TaskCancelledError, match="nothing to do"):
                await giving_up.add_task().result(stage.patience_s)

    async def _depth(self, app: QueueTasks) -> Any:
        engine = app.core.engine()
        await engine.ensure_started()
        return await engine.broker.depth("default")
