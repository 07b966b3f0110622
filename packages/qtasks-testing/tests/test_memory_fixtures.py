"""The fixtures that connect an app to memory for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qtasks_core import aio, blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.app import AppFace
    from qtasks_core.testing import AsyncMemory, BlockingMemory

shop = blocking.QueueTasks("tested", "memory://own")
app = aio.QueueTasks("tested", "memory://own")


@shop.task
def double(x: int) -> int:
    return 2 * x


@app.task
async def triple(x: int) -> int:
    return 3 * x


@pytest.fixture
def _as_before() -> None:
    """Each test below leaves something; none finds what another has left."""
    assert "memory://own" == shop.core.broker_url
    assert "memory://own" == app.core.broker_url


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.usefixtures("_as_before")
def test_for_tests_that_block(memory_app: Callable[[AppFace], BlockingMemory], number: int) -> None:
    """The app is in memory, alone there, until the test is over."""
    memory = memory_app(shop)
    assert [] == memory.waiting()
    double.add_task(number)
    assert [2 * number] == [task.returning for task in memory.run_until_idle()]
    double.add_task(number)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.usefixtures("_as_before")
async def test_for_tests_that_await(async_memory_app: Callable[[AppFace], Awaitable[AsyncMemory]], number: int) -> None:
    """The same, on the test's own loop."""
    memory = await async_memory_app(app)
    assert [] == memory.waiting()
    await triple.add_task(number)
    assert [3 * number] == [task.returning for task in await memory.run_until_idle()]
    await triple.add_task(number)
