"""State that several processes write at once: nothing is lost, nothing counts twice."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from qtasks.asyncio import QueueTasks
from qtasks_testing import RedisServer, TcpProxy
from qtasks_testing.processes import WorkerProcess
from sharing.app import TIMES, Counter
from sharing.place import EVERYWHERE, Place

pytestmark = pytest.mark.timeout(120)
PROCESSES, TASKS = 4, 20


@EVERYWHERE
@pytest.mark.parametrize("name", ["increment", "exchange", "increment_in_thread"])
async def test_nothing_is_lost_between_processes(
    start: Callable[..., WorkerProcess], client: QueueTasks, name: str
) -> None:
    """20 tasks in 4 processes, each of which adds one 100 times: by increment, also of a `def`, by compare_and_set."""
    for _ in range(PROCESSES):
        start()
    tasks = [await client.add_task(name) for _ in range(TASKS)]
    processes = {await task.result() for task in tasks}

    assert PROCESSES == len(processes)
    assert TIMES * TASKS == await Counter.of(client).get("count")


@EVERYWHERE
async def test_a_lock_makes_many_steps_one(start: Callable[..., WorkerProcess], client: QueueTasks) -> None:
    """The same by read, add and `update` of two fields under a lock: both are whole."""
    for _ in range(PROCESSES):
        start()
    tasks = [await client.add_task("update", number) for number in range(TASKS)]
    processes = {await task.result() for task in tasks}

    assert PROCESSES == len(processes)
    expected = {"count": TIMES * TASKS, "by_task": {str(number): TIMES for number in range(TASKS)}}
    assert expected == await Counter.of(client).get_all()


@pytest.mark.parametrize("times", [40])
async def test_increments_are_exact_through_cut_connections(
    redis_server: Callable[..., RedisServer], tcp_proxy: Callable[..., TcpProxy], times: int
) -> None:
    """A write to which no reply came is looked for, and repeated only when it was not applied."""
    server = redis_server()
    place = Place.on_redis(server.url)
    proxy = tcp_proxy(server.port)
    app = QueueTasks(place.name, server.url_at(proxy.host, proxy.port))
    near = QueueTasks(place.name, server.url)
    over = threading.Event()

    async def cut() -> None:
        while not over.is_set():
            await asyncio.sleep(0.03)
            await asyncio.to_thread(proxy.cut)

    async def count() -> list[Any]:
        state = Counter.of(app)
        return [await state.increment("count") for _ in range(times)]

    async with asyncio.timeout(100):
        cutting = asyncio.create_task(cut())
        try:
            found = await asyncio.gather(*(count() for _ in range(5)))
        finally:
            over.set()
            await cutting
        assert 5 * times == await Counter.of(near).get("count")
        assert set(range(1, 5 * times + 1)) == {number for one in found for number in one}
        await app.stop()
        await near.stop()
