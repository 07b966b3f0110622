"""50,000 tasks on Redis: neither the worker nor the server holds more at the end than after the first of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faults.load import calls
from faults.place import Place
from qtasks import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.scene import Scene
    from qtasks_testing import RedisServer, WorkerProcess

TASKS = 50_000
WAVE = 5_000
RESULT_TTL_S = 2.0
MOST_RSS_MIB = 8  # of the worker; 170 bytes kept of each task
MOST_USED_MIB = 1  # of the server, when results have expired; 20 bytes kept of each task
ANNOUNCED = 5  # what a live worker says of itself is renewed before it expires; two counters expire in a day

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc, as on Linux"),
]


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server(hz=100)


@pytest.fixture
def place(server: RedisServer) -> Place:
    return Place.on_redis(server.url)


@pytest.fixture
def client(place: Place) -> Iterator[QueueTasks]:
    with QueueTasks(place.name, place.url, config=QueueConfig(result_ttl=RESULT_TTL_S)) as app:
        yield app


def _rss_mib(worker: WorkerProcess) -> float:
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _used_mib(server: RedisServer) -> float:
    """Return what the server holds when all results have expired; it does not look for them while nothing asks."""
    expired_at = time.monotonic() + RESULT_TTL_S + 1
    is_over = lambda: time.monotonic() > expired_at and _with_ttl(server) <= ANNOUNCED  # noqa: E731  # said once
    eventually_sync(is_over, 60, "results expire", 0.1)
    server.command("MEMORY", "PURGE")
    return int(server.info("memory")["used_memory"]) / 2**20


def _with_ttl(server: RedisServer) -> int:
    """Return how many keys have a time to live."""
    keyspace = server.info("keyspace").get("db0", "expires=0")
    return int(dict(field.split("=") for field in keyspace.split(","))["expires"])


def test_fifty_thousand_tasks_leave_nothing(
    client: QueueTasks, scene: Scene, server: RedisServer, record_property: Any
) -> None:
    """The memory of worker and server is flat, and when all have left no task has left a key."""
    worker = scene.worker("a", concurrency=64, env={"QTASKS_RESULT_TTL": str(RESULT_TTL_S)})
    quiet = calls(client)
    rss, used = [], []
    for first in range(0, TASKS, WAVE):
        tasks = quiet.add_many([(str(number), 0.0) for number in range(first, first + WAVE)])
        for task in tasks:
            task.result(60)
        if first in {2 * WAVE, TASKS - WAVE}:
            rss.append(_rss_mib(worker))
            used.append(_used_mib(server))
    assert 0 == worker.stop()
    client.stop()
    cursor, keys = server.command("SCAN", 0, "COUNT", 100_000)
    record_property("rss_mib", rss)
    record_property("used_mib", used)
    print(f"worker {rss[0]:.1f} → {rss[1]:.1f} MiB, server {used[0]:.2f} → {used[1]:.2f} MiB, keys left {keys}")

    assert MOST_RSS_MIB > rss[1] - rss[0]
    assert MOST_USED_MIB > used[1] - used[0]
    assert b"0" == cursor
    assert [] == [key for key in keys if server.command("TTL", key) == -1]
