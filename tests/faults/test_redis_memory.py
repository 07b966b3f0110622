"""A Redis that is full: who adds is told, workers live and finish, and all goes on when there is room."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from faults.load import NO_CHARGE, calls
from faults.place import Place
from faults.scene import PATIENCE_S
from qtasks import QueueTasks
from qtasks.exceptions import SendRefusedError, TaskCancelledError
from qtasks_core.config import QueueConfig
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.scene import Scene
    from qtasks_testing import RedisServer

SEND_TIMEOUT_S = 1.0
PAYLOAD, LARGE = "x" * 30_000, "x" * 300_000


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server(maxmemory_policy="noeviction")


@pytest.fixture
def place(server: RedisServer) -> Place:
    return Place.on_redis(server.url)


@pytest.fixture
def client(place: Place) -> Iterator[QueueTasks]:
    """Return a client that is soon told what it cannot add."""
    with QueueTasks(place.name, place.url, config=QueueConfig(send_timeout=SEND_TIMEOUT_S)) as app:
        yield app


def _fill(server: RedisServer, client: QueueTasks, payload: str = PAYLOAD) -> None:
    """Leave room for a little more, and add to a queue that nobody reads until it is used up."""
    server.command("CONFIG", "SET", "maxmemory", int(server.info("memory")["used_memory"]) + 3_000_000)
    with pytest.raises(SendRefusedError, match="maxmemory"):
        _add_for_ever(client, payload)


def _add_for_ever(client: QueueTasks, payload: str) -> None:
    for _ in range(1000):
        client.with_options(queue="elsewhere", results=False).add_task("swallow", "payload", payload)


@pytest.mark.parametrize("payload", [PAYLOAD, LARGE], ids=["small", "large"])
def test_who_adds_to_a_full_server_is_told_and_workers_go_on(
    client: QueueTasks, scene: Scene, server: RedisServer, payload: str
) -> None:
    """What runs and what waits ends as always; when there is room adding works again, and what was added is there."""
    worker = scene.worker("a", concurrency=2, env=NO_CHARGE)
    asleep = client.add_task("wait_for_file", "asleep", str(scene.folder / "go"))
    waiting = calls(client).add_many([(str(number), 0.1) for number in range(40)])
    _fill(server, client, payload)
    full_at = time.monotonic()
    with pytest.raises(SendRefusedError, match="maxmemory"):
        client.add_task("swallow", "refused", payload)
    told_after_s = time.monotonic() - full_at
    (scene.folder / "go").touch()
    assert {worker.pid} == {task.result(PATIENCE_S) for task in (asleep, *waiting)}

    server.command("CONFIG", "SET", "maxmemory", 0)
    assert worker.pid == client.add_task("work", "again").result(PATIENCE_S)
    other = scene.worker("b", queues=("elsewhere",))
    eventually_sync(lambda: scene.ledger.counts("end")["payload"], PATIENCE_S, "what was added runs")
    print(f"told after {told_after_s:.2f} s")
    assert told_after_s <= 3 * SEND_TIMEOUT_S + 5
    assert "refused" not in scene.ledger.counts("start")
    assert {1} == {count for key, count in scene.ledger.counts("start").items() if key != "payload"}
    assert [0, 0] == [worker.stop(), other.stop()]


def test_an_add_waits_for_room(client: QueueTasks, scene: Scene, server: RedisServer, place: Place) -> None:
    """Up to `send_timeout`: what others finish meanwhile makes room."""
    _fill(server, client)
    with QueueTasks(place.name, place.url) as patient, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(patient.add_task, "swallow", "patient", LARGE)
        worker = scene.worker("b", queues=("default", "elsewhere"))
        adding.result(PATIENCE_S).result(PATIENCE_S)
    assert 1 == scene.ledger.counts("end")["patient"]
    assert 0 == worker.stop()


def test_what_runs_can_be_cancelled_on_a_full_server(client: QueueTasks, scene: Scene, server: RedisServer) -> None:
    """Also by a worker that came when it was full already: cancels are small, and heard."""
    _fill(server, client)
    server.command("CONFIG", "SET", "maxmemory", 0)
    task = client.add_task("wait_for_file", "a", str(scene.folder / "go"))
    server.command("CONFIG", "SET", "maxmemory", 1_000_000)
    worker = scene.worker("a")
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    assert task.cancel("enough")
    with pytest.raises(TaskCancelledError, match="enough"):
        task.result(PATIENCE_S)
    assert "the global config is away" not in worker.log
    assert 0 == worker.stop()
