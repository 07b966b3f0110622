"""A Redis behind Sentinel whose master dies: what the replica had is kept, and everyone goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from faults.load import calls
from faults.place import Place
from faults.scene import PATIENCE_S
from qtasks_testing import RedisSentinel
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faults.scene import Scene
    from qtasks import QueueTasks
    from qtasks_testing import RedisServer

pytestmark = pytest.mark.timeout(180)
CONCURRENCY = 8
TASKS = 600


@pytest.fixture
def master(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server(password="secret")


@pytest.fixture
def replica(redis_server: Callable[..., RedisServer], master: RedisServer) -> RedisServer:
    server = redis_server(password="secret", replica_of=master)
    server.wait_synced()
    return server


@pytest.fixture
def sentinel(master: RedisServer, replica: RedisServer, tmp_path: Path) -> Iterator[RedisSentinel]:
    with RedisSentinel(tmp_path / "sentinel", master) as sentinel:
        sentinel.wait_watching()
        yield sentinel


@pytest.fixture
def place(sentinel: RedisSentinel) -> Place:
    return Place.on_redis(sentinel.url)


def test_all_goes_on_with_the_new_master(
    client: QueueTasks, scene: Scene, master: RedisServer, replica: RedisServer, sentinel: RedisSentinel
) -> None:
    """What waits, what runs, who waits for it and who adds meanwhile; and again when the old master is back."""
    workers = [scene.worker(name, concurrency=CONCURRENCY) for name in ("a", "b")]
    asleep = client.add_task("wait_for_file", "asleep", str(scene.folder / "go"))
    late = client.with_options(delay=5).add_task("work", "late")
    tasks = calls(client).add_many([(str(number), 0.02) for number in range(TASKS)])
    eventually_sync(lambda: len(scene.ledger.counts("end")) >= 100, PATIENCE_S, "a part of the work")
    assert 1 == master.command("WAIT", 1, 5000)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(asleep.result, 3 * PATIENCE_S)
        master.kill()
        adding = pool.submit(client.add_task, "work", "added meanwhile")
        eventually_sync(lambda: replica.port == sentinel.master_port(), PATIENCE_S, "a failover")
        for task in (*tasks, late, adding.result(PATIENCE_S)):
            task.result(PATIENCE_S)
        (scene.folder / "go").touch()
        assert waiting.result(PATIENCE_S) in {worker.pid for worker in workers}

    master.start()
    eventually_sync(lambda: "slave" == master.info("replication")["role"], PATIENCE_S, "the old master obeys")
    for number in range(20):
        client.add_task("work", f"then {number}").result(PATIENCE_S)
    starts = scene.ledger.counts("start")
    repeats = sum(count - 1 for count in starts.values())
    print(f"repeats {repeats} of at most {2 * CONCURRENCY}")
    then = {f"then {number}" for number in range(20)}
    assert {"asleep", "late", "added meanwhile", *map(str, range(TASKS)), *then} == starts.keys()
    assert repeats <= 2 * CONCURRENCY
    assert [0, 0] == [worker.stop() for worker in workers]
