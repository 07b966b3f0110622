"""Generators in a process: values arrive while it runs, the handler stands beside the generator, nothing piles up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from processes import functions
from processes.bench import declare
from qtasks_core.errors import TaskFailedError
from qtasks_core.worker.processes.messages import WINDOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from processes.bench import Running
    from qtasks_core.aio import QueueTasks


@pytest.fixture
async def own_app() -> AsyncIterator[QueueTasks]:
    """Return the app that stands beside the functions."""
    yield functions.app
    await functions.app.stop()


@pytest.mark.parametrize("function", [functions.count, functions.count_async])
@pytest.mark.parametrize("to", [0, 3, 3 * WINDOW + 7])
async def test_values_make_the_result(app: QueueTasks, running: Running, function: Any, to: int) -> None:
    """A list of them, as without a process; more than may be on their way at once too."""
    task = declare(app, function)
    async with running(app):
        added = await task.add_task(to)

        assert list(range(to)) == await added.result(timeout=20)
        assert list(range(to)) == [value async for value in added.stream()]


async def test_a_generators_own_result_goes_first(app: QueueTasks, running: Running) -> None:
    """Without a handler nothing is sent back."""
    echo = declare(app, functions.echo_of)
    async with running(app):
        assert [None] * 3 == await app.add_task("echo_of", 3).result(timeout=20)
    assert "echo_of" == echo.name


async def test_values_arrive_while_it_runs(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """The first ones are read before the last one is made."""
    count = declare(app, functions.count_then_wait)
    async with running(app):
        task = await count.add_task(3, str(tmp_path / "go"))
        got = []
        async for value in task.stream():
            got.append(value)
            if value == 2:
                (tmp_path / "go").touch()

        assert [0, 1, 2, -1] == got


async def test_the_handlers_values_are_sent_back(own_app: QueueTasks, running: Running) -> None:
    """In the process, where the generator is: with the values as they are there."""
    async with running(own_app):
        assert [0, 10, 20] == await functions.handled.add_task(3).result(timeout=20)
        assert [0, 10, 20] == await functions.handled_by_async.add_task(3).result(timeout=20)
        assert [0, 10, 20] == await functions.async_handled.add_task(3).result(timeout=20)


async def test_an_error_in_the_middle_keeps_what_was_yielded(app: QueueTasks, running: Running) -> None:
    """In the stream; the task ends with the error."""
    count = declare(app, functions.count_then_fail)
    async with running(app):
        task = await count.add_task(3)
        with pytest.raises(TaskFailedError, match="ValueError: enough"):
            await task.result(timeout=20)
        got: list[int] = []

        async def read() -> None:
            async for value in task.stream():
                got.append(value)  # noqa: PERF401  # kept up to the error

        with pytest.raises(TaskFailedError, match="ValueError: enough"):
            await read()
        assert [0, 1, 2] == got


async def test_a_value_that_cannot_travel_fails_its_task(app: QueueTasks, running: Running) -> None:
    """The error says that it was a value, and of which type."""
    bad, square = declare(app, functions.yield_unencodable), declare(app, functions.square)
    async with running(app):
        with pytest.raises(TaskFailedError, match="the yielded value of task 'yield_unencodable' cannot be encoded"):
            await bad.add_task().result(timeout=20)

        assert 4 == await square.add_task(2).result(timeout=20)


async def test_one_generator_after_the_other(app: QueueTasks, running: Running) -> None:
    """What is left of one's conversation does not disturb the next one, nor another task."""
    count, square = declare(app, functions.count), declare(app, functions.square)
    async with running(app):
        for size in (WINDOW // 2, WINDOW, WINDOW + 1, 2 * WINDOW):
            assert list(range(size)) == await count.add_task(size).result(timeout=20)
            assert 9 == await square.add_task(3).result(timeout=20)
