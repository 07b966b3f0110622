"""What a task knows of its own run: with echo, by annotation, or by current_context()."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003  # read at run time

import pytest

from qtasks_core.errors import TaskCancelledError, TaskFailedError
from qtasks_core.gathering import gather
from qtasks_core.task import Progress
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext, current_context
from qtasks_testing.kit.features.abilities import RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["ContextSuite"]

KINDS = pytest.mark.parametrize("kind", ["async", "thread", "generator", "async generator"])


def _told(ctx: TaskContext) -> dict[str, Any]:
    return {
        "name": ctx.task_name,
        "uuid": ctx.task_uuid,
        "attempt": ctx.attempt,
        "queue": ctx.queue,
        "priority": ctx.priority,
        "headers": dict(ctx.headers),
        "cancelled": ctx.cancelled,
    }


def _of_kind(kind: str, body: Any) -> Any:
    """Return a function of that kind whose parameters are those of *body*, the first of them the context."""

    async def on_loop(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return body(ctx, *args, **kwargs)

    def in_thread(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        return body(ctx, *args, **kwargs)

    def generator(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        yield body(ctx, *args, **kwargs)

    async def async_generator(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        yield body(ctx, *args, **kwargs)

    return {"async": on_loop, "thread": in_thread, "generator": generator, "async generator": async_generator}[kind]


class _Records(logging.Handler):
    """Keeps the records of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class ContextSuite(FeatureSuite):
    """Tests of echo=True, TaskContext, current_context() and everything on them."""

    feature = "Context"

    # ---------------------------------------------------------------- how a task comes by it

    @KINDS
    async def test_echo_passes_the_context_first(self, stage: Stage, kind: str) -> None:
        """Callers do not see that parameter; `self.ctx` and `self` are the same."""
        app = stage.app()
        seen: list[Any] = []

        def body(ctx: Any, *args: Any, **kwargs: Any) -> int:
            seen.append((type(ctx), ctx.ctx is ctx, args, kwargs))
            return 1

        task = app.task(name="echo", echo=True)(_of_kind(kind, body))
        async with stage.worker(app):
            added = await task.add_task(1, x=2)
            await added.result(stage.patience_s)

        assert added.args == (1,)
        expected = AsyncTaskContext if kind.startswith("async") else BlockingTaskContext
        assert seen == [(expected, True, (1,), {"x": 2})]

    async def test_a_parameter_may_be_annotated_wherever_it_stands(self, stage: Stage) -> None:
        """In the middle, by keyword only, by a text; of the face of its function, or of both."""
        app = stage.app()

        def middle(x: int, ctx: BlockingTaskContext, y: int = 2) -> list[Any]:
            return [x, ctx.task_name, y]

        async def keyword(x: int, *, ctx: AsyncTaskContext) -> list[Any]:
            return [x, ctx.task_name]

        async def either(ctx: TaskContext, x: int) -> list[Any]:
            return [ctx.task_name, x]

        tasks: list[Any] = [app.task(function) for function in (middle, keyword, either)]
        async with stage.worker(app):
            assert await tasks[0].add_task(1, 3).result(stage.patience_s) == [1, "middle", 3]
            assert await tasks[0].add_task(1).result(stage.patience_s) == [1, "middle", 2]
            assert await tasks[0].add_task(x=1, y=5).result(stage.patience_s) == [1, "middle", 5]
            assert await tasks[1].add_task(1).result(stage.patience_s) == [1, "keyword"]
            assert await tasks[2].add_task(x=4).result(stage.patience_s) == ["either", 4]

    @KINDS
    async def test_code_that_a_task_calls_finds_its_context(self, stage: Stage, kind: str) -> None:
        """current_context(), however deep; each of many that run at once finds its own."""
        app = stage.app()

        def deep() -> str:
            return str(current_context().task_uuid)

        task = app.task(name="deep", echo=True)(_of_kind(kind, lambda _: deep()))
        async with stage.worker(app, concurrency=8):
            added = await task.add_many([()] * 30)
            found = await gather(*added, timeout=stage.patience_s)

        expected = [str(one.uuid) for one in added]
        assert found == (expected if "generator" not in kind else [[one] for one in expected])

    async def test_there_is_none_outside_a_task(self, stage: Stage) -> None:
        """Nor is one left behind when the task has ended."""
        app = stage.app()

        @app.task
        def in_thread() -> None:
            current_context()

        @app.task
        async def on_loop() -> None:
            current_context()

        async with stage.worker(app, concurrency=1):
            await in_thread.add_task().result(stage.patience_s)
            await on_loop.add_task().result(stage.patience_s)
            with pytest.raises(RuntimeError, match="inside a running task only"):
                current_context()

    async def test_a_plain_call_inside_a_task_gets_the_tasks_context(self, stage: Stage) -> None:
        """A task that calls another as a function passes its own on; outside there is none to pass."""
        app = stage.app()

        @app.task(echo=True)
        async def inner(ctx: AsyncTaskContext, x: int) -> list[Any]:
            return [ctx.task_name, x]

        @app.task
        async def outer() -> list[Any]:
            return await inner(3)

        async with stage.worker(app):
            assert await outer.add_task().result(stage.patience_s) == ["outer", 3]
            with pytest.raises(RuntimeError, match="inside a running task only"):
                await inner(3)

    # ---------------------------------------------------------------- what is on it

    @KINDS
    async def test_it_tells_what_runs(self, stage: Stage, kind: str) -> None:
        """Name, uuid, attempt, queue, priority, headers, and the same as one mapping."""
        app = stage.app()
        seen: list[Any] = []
        before = time.time()

        def body(ctx: TaskContext) -> None:
            seen.extend((_told(ctx), ctx.get_metadata()))
            if ctx.attempt == 1:
                raise ValueError("again")

        task = app.task(name="told", echo=True, queue="mail", retry=1, retry_backoff=0.0)(_of_kind(kind, body))
        async with stage.worker(app, queues=("mail",)):
            added = await task.with_options(priority=-3, headers={"tenant": "a"}).add_task()
            await added.result(stage.patience_s)

        expected = {"name": "told", "uuid": added.uuid, "queue": "mail", "priority": -3, "headers": {"tenant": "a"}}
        assert seen[0] == {**expected, "attempt": 1, "cancelled": False}
        assert seen[2] == {**expected, "attempt": 2, "cancelled": False}
        metadata = seen[3]
        assert before - 1 <= metadata.pop("created_at") <= time.time() + 1
        renamed = {"task_name": "told", "task_uuid": added.uuid, "attempt": 2}
        assert metadata == {**renamed, "queue": "mail", "priority": -3, "headers": {"tenant": "a"}}

    async def test_it_knows_the_app_its_settings_and_the_components(self, stage: Stage) -> None:
        """Those of the worker that runs the task; a name that is none is told with those that there are."""
        app = stage.app(retry_max_delay=123.0)
        seen: dict[str, Any] = {}

        @app.task(echo=True)
        async def look(ctx: AsyncTaskContext) -> None:
            seen["app"], seen["config"] = ctx.app, ctx.get_config()
            for name in ("broker", "storage", "global_config", "worker", "task_executor", "starter"):
                seen[name] = ctx.get_component(name)
            ctx.get_component("brokr")

        async with stage.worker(app) as worker:
            with pytest.raises(TaskFailedError, match=r"KeyError: .*expected one of broker, storage, .*got 'brokr'"):
                await look.add_task().result(stage.patience_s)

        assert seen["app"] is app
        assert seen["config"].retry_max_delay == 123.0
        assert seen["worker"] is worker
        assert isinstance(seen["broker"], type(app.core.engine().broker))
        assert isinstance(seen["storage"], type(app.core.engine().storage))
        assert seen["starter"] is app.starter
        assert hasattr(seen["task_executor"], "run")

    @KINDS
    async def test_its_logger_names_the_task(self, stage: Stage, kind: str) -> None:
        """Each record carries task_name, task_uuid and attempt; another logger may be named."""
        app = stage.app()
        handler = _Records()

        def body(ctx: TaskContext) -> None:
            ctx.get_logger().warning("one %d", 1)
            ctx.get_logger("kit.of.mine").warning("two")

        task = app.task(name="logging", echo=True)(_of_kind(kind, body))
        loggers = [logging.getLogger(name) for name in ("qtasks.task.logging", "kit.of.mine")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            async with stage.worker(app):
                added = await task.add_task()
                await added.result(stage.patience_s)
        finally:
            for logger in loggers:
                logger.removeHandler(handler)

        said = [(one.name, one.getMessage()) for one in handler.records]
        assert said == [("qtasks.task.logging", "one 1"), ("kit.of.mine", "two")]
        carried: list[Any] = [(one.task_name, one.task_uuid, one.attempt) for one in handler.records]  # type: ignore[attr-defined]  # extras
        assert carried == [("logging", str(added.uuid), 1)] * 2

    @requires(RECORDS)
    async def test_a_task_reads_another(self, stage: Stage) -> None:
        """get_task(uuid): awaited in an `async def`, plain in a `def`."""
        app = stage.app()

        @app.task
        async def first() -> str:
            return "of the first"

        @app.task(echo=True)
        async def on_loop(ctx: AsyncTaskContext, uuid: UUID) -> Any:
            return (await ctx.get_task(uuid)).returning

        @app.task(echo=True)
        def in_thread(ctx: BlockingTaskContext, uuid: UUID) -> Any:
            return ctx.get_task(uuid).returning

        async with stage.worker(app):
            known = await first.add_task()
            await known.result(stage.patience_s)
            assert await on_loop.add_task(known.uuid).result(stage.patience_s) == "of the first"
            assert await in_thread.add_task(known.uuid).result(stage.patience_s) == "of the first"

    async def test_a_task_sleeps(self, stage: Stage) -> None:
        """ctx.sleep(seconds): awaited in an `async def`, plain in a `def`."""
        app = stage.app()

        @app.task(echo=True)
        async def on_loop(ctx: AsyncTaskContext) -> float:
            began = time.monotonic()
            await ctx.sleep(0.1)
            return time.monotonic() - began

        @app.task(echo=True)
        def in_thread(ctx: BlockingTaskContext) -> float:
            began = time.monotonic()
            ctx.sleep(0.1)
            return time.monotonic() - began

        async with stage.worker(app):
            assert await on_loop.add_task().result(stage.patience_s) >= 0.099
            assert await in_thread.add_task().result(stage.patience_s) >= 0.099

    @KINDS
    async def test_a_task_ends_itself_with_a_reason(self, stage: Stage, kind: str) -> None:
        """ctx.cancel(reason), wherever it runs."""
        app = stage.app()
        task = app.task(name="ends", echo=True)(_of_kind(kind, lambda ctx: ctx.cancel("nothing to do")))
        async with stage.worker(app):
            with pytest.raises(TaskCancelledError, match="nothing to do"):
                await task.add_task().result(stage.patience_s)

    @KINDS
    async def test_without_a_plugin_that_answers_plugin_error_is_an_error(self, stage: Stage, kind: str) -> None:
        """ctx.plugin_error(…) asks plugins for the result; nobody answers here."""
        app = stage.app()
        task = app.task(name="asks", echo=True)(_of_kind(kind, lambda ctx: ctx.plugin_error(why="kit")))
        async with stage.worker(app):
            with pytest.raises(TaskFailedError, match="TaskPluginTriggerError"):
                await task.add_task().result(stage.patience_s)

    # ---------------------------------------------------------------- progress

    @KINDS
    async def test_the_last_mark_of_progress_is_kept_with_the_task(self, stage: Stage, kind: str) -> None:
        """ctx.progress(done, total, message); a task that makes none has none."""
        app = stage.app()

        def body(ctx: TaskContext, count: int) -> None:
            for step in range(count):
                ctx.progress(step + 1, count, f"step {step + 1}")

        task = app.task(name="stepping", echo=True)(_of_kind(kind, body))
        async with stage.worker(app):
            added, other = await task.add_task(500), await task.add_task(0)
            await added.wait(stage.patience_s)
            await other.wait(stage.patience_s)

        assert added.progress == Progress(500, 500, "step 500")
        assert other.progress is None

    @pytest.mark.parametrize("where", ["loop", "thread"])
    async def test_progress_is_seen_while_the_task_runs(self, stage: Stage, where: str) -> None:
        """stream(progress=True) has the marks among the values; the task goes on when its mark was seen."""
        app = stage.app()
        seen = threading.Event()

        async def on_loop(ctx: AsyncTaskContext) -> str:
            ctx.progress(1, 2)
            await eventually(seen.is_set, stage.patience_s)
            return "done"

        def in_thread(ctx: BlockingTaskContext) -> str:
            ctx.progress(1, 2)
            assert seen.wait(stage.patience_s)
            return "done"

        function: Any = on_loop if where == "loop" else in_thread
        task = app.task(name="stepping")(function)
        marks: list[Any] = []
        async with stage.worker(app):
            added = await task.add_task()
            async with asyncio.timeout(stage.patience_s):
                async for mark in added.stream(progress=True):
                    marks.append(mark)
                    seen.set()
            assert await added.result(stage.patience_s) == "done"
            assert [value async for value in added.stream()] == []

        assert marks == [Progress(1, 2)]
