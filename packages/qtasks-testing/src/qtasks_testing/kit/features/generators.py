"""Generator tasks: what they yield is handled, sent back, stored, and read while they run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.errors import TaskFailedError, UnavailableError
from qtasks_testing.kit.features.abilities import RECORDS
from qtasks_testing.kit.features.feature import FeatureSuite
from qtasks_testing.kit.features.yielded import Alive, SlowAppends, Still
from qtasks_testing.kit.requirements import requires
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qtasks_core.contract import Event
    from qtasks_core.task import Task
    from qtasks_testing.kit.features.stage import Stage

__all__ = ["GeneratorSuite"]

MANY = 100_000
WRITTEN_AT_ONCE = 512
IN_FLIGHT = 4 * WRITTEN_AT_ONCE
"""Values that may be on their way to the storage: those of a write, those that wait for it, and those just made."""


async def _read(task: Task[Any]) -> list[Any]:
    return [value async for value in task.stream()]


def _kinds(in_thread: Any, on_loop: Any, where: str) -> Any:
    return on_loop if where == "loop" else in_thread


both = pytest.mark.parametrize("where", ["loop", "thread"])


class GeneratorSuite(FeatureSuite):
    """Tests of tasks that yield, generate_handler, stream() and generator_items."""

    feature = "Generators"

    @both
    async def test_what_is_yielded_is_the_result_and_the_stream(self, stage: Stage, where: str) -> None:
        """In its order."""
        app = stage.app()

        def in_thread(count: int) -> Any:
            yield from range(count)

        async def on_loop(count: int) -> Any:
            for number in range(count):
                yield number

        numbers = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            task = await numbers.add_task(5)
            assert await task.result(stage.patience_s) == [0, 1, 2, 3, 4]
            assert await _read(task) == [0, 1, 2, 3, 4]
            empty = await numbers.add_task(0)
            assert await empty.result(stage.patience_s) == []
            assert await _read(empty) == []

        assert not task.is_truncated

    async def test_a_value_of_its_own_is_the_result(self, stage: Stage) -> None:
        """What a generator returns goes before the list of what it yielded; the stream has the values."""
        app = stage.app()

        @app.task
        def summed(count: int) -> Any:
            total = 0
            for number in range(count):
                total += number
                yield number
            return total

        async with stage.worker(app):
            task = await summed.add_task(4)
            assert await task.result(stage.patience_s) == 6
            assert await _read(task) == [0, 1, 2, 3]

    @both
    @pytest.mark.parametrize("handler", ["sync", "async"])
    async def test_each_value_is_handled_and_sent_back(self, stage: Stage, where: str, handler: str) -> None:
        """What generate_handler returns is in the stream and the result, and is the value of the yield expression."""
        app = stage.app()
        sent: list[Any] = []
        threads: set[int] = set()

        def double(value: int) -> int:
            threads.add(threading.get_ident())
            return 2 * value

        async def double_async(value: int) -> int:
            threads.add(threading.get_ident())
            await asyncio.sleep(0)
            return 2 * value

        def in_thread() -> Any:
            for number in range(3):
                answer = yield number
                sent.append(answer)

        async def on_loop() -> Any:
            for number in range(3):
                answer = yield number
                sent.append(answer)

        function = _kinds(in_thread, on_loop, where)
        task = app.task(name="numbers", generate_handler=double if handler == "sync" else double_async)(function)
        async with stage.worker(app):
            added = await task.add_task()
            assert await added.result(stage.patience_s) == [0, 2, 4]
            assert await _read(added) == [0, 2, 4]

        assert sent == [0, 2, 4]
        on_the_loop = where == "loop" or handler == "async"
        assert (threads == {threading.get_ident()}) is on_the_loop

    @both
    async def test_without_a_handler_nothing_is_sent_back(self, stage: Stage, where: str) -> None:
        """The yield expression is worth None, as in a loop over the generator."""
        app = stage.app()

        def in_thread() -> Any:
            first = yield 1
            yield first

        async def on_loop() -> Any:
            first = yield 1
            yield first

        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            assert await task.add_task().result(stage.patience_s) == [1, None]

    async def test_a_generator_may_delegate(self, stage: Stage) -> None:
        """With `yield from`: to another generator, which gets what is sent back, or to any iterable, which cannot."""
        app = stage.app()
        sent: list[Any] = []

        def inner() -> Any:
            sent.append((yield 1))
            return "returned"

        def outer() -> Any:
            yield from [10, 20]
            yield from iter(range(3))
            sent.append((yield from inner()))
            sent.append((yield 5))

        task = app.task(name="numbers", generate_handler=str)(outer)
        async with stage.worker(app):
            values = ["10", "20", "0", "1", "2", "1", "5"]
            assert await task.add_task().result(stage.patience_s) == values

        assert sent == ["1", "returned", "5"]

    @both
    async def test_a_handler_that_raises_fails_the_task(self, stage: Stage, where: str) -> None:
        """Its traceback shows the handler; the generator is closed; the values before stay in the stream."""
        app = stage.app()
        closed = threading.Event()

        def picky(value: int) -> int:
            if value == 2:
                raise ValueError("not two")
            return value

        def in_thread() -> Any:
            try:
                yield from range(5)
            finally:
                closed.set()

        async def on_loop() -> Any:
            try:
                for number in range(5):
                    yield number
            finally:
                closed.set()

        task = app.task(name="numbers", generate_handler=picky)(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            added = await task.add_task()
            stream = added.stream()
            assert [await anext(stream), await anext(stream)] == [0, 1]
            with pytest.raises(TaskFailedError, match="ValueError: not two") as caught:
                await anext(stream)

        assert "picky" in caught.value.traceback
        assert closed.is_set()

    @both
    @pytest.mark.parametrize("end", ["raises", "is too slow"])
    async def test_what_was_yielded_before_a_failure_is_in_the_stream(self, stage: Stage, where: str, end: str) -> None:
        """All of it, before the error: the record, which ends the stream, waits for a slow storage too."""
        app = stage.app(max_abandoned=10)
        ended = threading.Event()

        def in_thread() -> Any:
            yield from range(10)
            ended.set()
            if end == "raises":
                raise ValueError("at last")
            threading.Event().wait(1.0)

        async def on_loop() -> Any:
            for number in range(10):
                yield number
            ended.set()
            if end == "raises":
                raise ValueError("at last")
            await asyncio.sleep(1.0)

        slow = SlowAppends()
        timeout = None if end == "raises" else 0.2
        task = app.task(name="numbers", timeout=timeout)(_kinds(in_thread, on_loop, where))
        async with stage.worker(app, prepare=slow.prepare):
            added = await task.add_task()
            await eventually(ended.is_set, stage.patience_s)
            with pytest.raises(TimeoutError):
                await added.wait(0.3)
            slow.go_on.set()
            stream = added.stream()
            assert [await anext(stream) for _ in range(10)] == list(range(10))
            with pytest.raises(TaskFailedError, match="at last" if end == "raises" else "TaskTimeoutError"):
                await anext(stream)

    @both
    async def test_what_cannot_be_encoded_fails_the_task(self, stage: Stage, where: str) -> None:
        """The error names the value's type; what came before stays."""
        app = stage.app()

        def in_thread() -> Any:
            yield 1
            yield object()

        async def on_loop() -> Any:
            yield 1
            yield object()

        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            added = await task.add_task()
            with pytest.raises(TaskFailedError, match="object"):
                await added.result(stage.patience_s)
            values = added.stream()
            assert await anext(values) == 1
            with pytest.raises(TaskFailedError):
                await anext(values)

    @both
    async def test_a_value_is_read_while_the_task_runs(self, stage: Stage, where: str) -> None:
        """The generator goes on only when its reader has seen the value."""
        app = stage.app()
        seen = [threading.Event() for _ in range(3)]

        def in_thread() -> Any:
            for number, event in enumerate(seen):
                yield number
                assert event.wait(stage.patience_s)

        async def on_loop() -> Any:
            for number, event in enumerate(seen):
                yield number
                await eventually(event.is_set, stage.patience_s)

        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            added = await task.add_task()
            async with asyncio.timeout(stage.patience_s), aclosing(added.stream()) as stream:
                async for number in stream:
                    seen[number].set()
            assert await added.result(stage.patience_s) == [0, 1, 2]

    async def test_every_reader_gets_all(self, stage: Stage) -> None:
        """Whether it begins before the task, while it runs or after; one that leaves disturbs nobody."""
        app = stage.app()
        go_on = asyncio.Event()

        @app.task
        async def numbers() -> Any:
            for number in range(10):
                yield number
                if number == 4:
                    await go_on.wait()

        task = await numbers.add_task()
        early = asyncio.ensure_future(_read(task))
        async with stage.worker(app):
            async with aclosing(task.stream()) as stream:
                async for number in stream:
                    if number == 4:
                        break
            later = asyncio.ensure_future(_read(task))
            go_on.set()
            async with asyncio.timeout(stage.patience_s):
                assert await early == await later == list(range(10))
                assert await _read(task) == list(range(10))

    @requires(RECORDS)
    async def test_the_stream_of_a_task_that_has_ended_is_there_for_everybody(self, stage: Stage) -> None:
        """As long as its result, by its uuid."""
        app = stage.app()

        @app.task
        def numbers() -> Any:
            yield from range(700)

        async with stage.worker(app):
            task = await numbers.add_task()
            await task.result(stage.patience_s)
        assert await _read(await app.get(task.uuid)) == list(range(700))

    async def test_a_reader_whose_connection_is_lost_goes_on_where_it_was(self, stage: Stage) -> None:
        """Nothing twice, nothing left out."""
        app = stage.app()

        @app.task
        def numbers() -> Any:
            yield from range(100)

        async with stage.worker(app):
            task = await numbers.add_task()
            await task.wait(stage.patience_s)
            storage = app.core.engine().storage
            whole, places = storage.events, []

            async def cut(uuid: Any, after: Any = None) -> AsyncIterator[Event]:
                places.append(after and after[1])
                left = 30
                async for event in whole(uuid, after):
                    if left == 0:
                        raise UnavailableError("the connection is lost")
                    left -= 1
                    yield event

            storage.events = cut  # type: ignore[method-assign]  # the client's own object, for this test
            assert await _read(task) == list(range(100))

        assert len(places) == 4

    async def test_a_task_that_yields_nothing_has_an_empty_stream(self, stage: Stage) -> None:
        """It ends with the task; one that failed says so."""
        app = stage.app()

        @app.task
        async def plain(*, fails: bool) -> int:
            if fails:
                raise ValueError("no")
            return 1

        async with stage.worker(app):
            assert await _read(await plain.add_task(fails=False)) == []
            with pytest.raises(TaskFailedError, match="ValueError: no"):
                await _read(await plain.add_task(fails=True))

    @both
    async def test_the_result_holds_only_the_first_of_many(self, stage: Stage, where: str) -> None:
        """generator_items of them, and the task says that it is truncated; the stream has all."""
        app = stage.app(generator_items=10)

        def in_thread(count: int) -> Any:
            yield from range(count)

        async def on_loop(count: int) -> Any:
            for number in range(count):
                yield number

        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app):
            full, more = await task.add_task(10), await task.add_task(11)
            assert await full.result(stage.patience_s) == list(range(10))
            assert await more.result(stage.patience_s) == list(range(10))
            assert await _read(more) == list(range(11))

        assert (full.is_truncated, more.is_truncated) == (False, True)

    @both
    async def test_a_slow_storage_slows_the_generator(self, stage: Stage, where: str) -> None:
        """It is never far ahead of what is written, and goes on when the storage does."""
        app = stage.app()
        made: list[int] = []

        def in_thread() -> Any:
            for number in range(5 * IN_FLIGHT):
                made.append(number)
                yield number

        async def on_loop() -> Any:
            for number in range(5 * IN_FLIGHT):
                made.append(number)
                yield number

        slow = SlowAppends()
        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        async with stage.worker(app, prepare=slow.prepare):
            added = await task.add_task()
            await eventually(lambda: made, stage.patience_s)
            await eventually(Still(made).has_stopped, stage.patience_s, "the generator waits")
            ahead = len(made) - slow.answered
            slow.go_on.set()
            await added.wait(2 * stage.patience_s)

        assert 1 <= ahead <= IN_FLIGHT
        assert len(made) == 5 * IN_FLIGHT

    async def test_a_slow_reader_slows_nobody(self, stage: Stage) -> None:
        """It reads what is stored, in its own time."""
        app = stage.app()

        @app.task
        def numbers() -> Any:
            yield from range(2000)

        async with stage.worker(app):
            task = await numbers.add_task()
            async with aclosing(task.stream()) as stream:
                assert await anext(stream) == 0
                await task.wait(stage.patience_s)
                assert [number async for number in stream] == list(range(1, 2000))

    @pytest.mark.parametrize(("where", "many"), [("loop", MANY), ("thread", MANY // 5)])
    async def test_a_hundred_thousand_values_pass_without_being_held(self, stage: Stage, where: str, many: int) -> None:
        """The worker's memory is flat; all are in the stream, and the first is read while the task still runs."""
        kept = 1000
        app = stage.app(generator_items=kept)
        alive, first_is_read = Alive(), threading.Event()

        def in_thread() -> Any:
            for number in range(many):
                yield alive.make(number)
                if number == many // 2:
                    assert first_is_read.wait(stage.patience_s)

        async def on_loop() -> Any:
            for number in range(many):
                yield alive.make(number)
                if number == many // 2:
                    await eventually(first_is_read.is_set, stage.patience_s)

        task = app.task(name="numbers")(_kinds(in_thread, on_loop, where))
        count = 0
        async with stage.worker(app):
            added = await task.add_task()
            async with asyncio.timeout(6 * stage.patience_s), aclosing(added.stream()) as stream:
                async for value in stream:
                    assert value == {"number": count}
                    count += 1
                    first_is_read.set()
            assert len(await added.result(stage.patience_s)) == kept

        assert count == many
        assert added.is_truncated
        assert alive.most <= kept + IN_FLIGHT
