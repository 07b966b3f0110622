"""A Redis that dies, stops or forgets its scripts in mid-load: nothing acknowledged is lost, nobody taken for dead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from faults.load import NO_CHARGE, Load
from faults.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faults.scene import Scene
    from qtasks import QueueTasks
    from qtasks_testing import RedisServer, WorkerProcess

pytestmark = pytest.mark.timeout(180)
LONGER_THAN_A_LEASE_S = 7.0


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    """Return a server that loses nothing that it has acknowledged."""
    return redis_server(appendonly="yes", appendfsync="always")


@pytest.fixture
def place(server: RedisServer) -> Place:
    return Place.on_redis(server.url)


@pytest.fixture
def workers(scene: Scene) -> list[WorkerProcess]:
    return [scene.worker(name, concurrency=8, env=NO_CHARGE) for name in ("a", "b")]


def _all_ran_once(count: int, scene: Scene, workers: Sequence[WorkerProcess]) -> None:
    print(f"{count} tasks")
    assert {str(number): 1 for number in range(count)} == scene.ledger.counts("start")
    assert not any("evicted" in worker.log or "taken over" in worker.log for worker in workers)
    assert [0] * len(workers) == [worker.stop() for worker in workers]


@pytest.mark.parametrize("times", [4, 1], ids=["again and again", "for longer than a lease"])
def test_a_server_that_is_killed_and_comes_back_has_lost_nothing(
    client: QueueTasks, scene: Scene, server: RedisServer, workers: list[WorkerProcess], times: int
) -> None:
    """Adding and waiting go on when it is back, each task runs once, and no worker was taken for dead."""
    with Load(client, scene.ledger) as load:
        for _ in range(times):
            load.goes_on()
            server.kill()
            time.sleep(0.3 if times > 1 else LONGER_THAN_A_LEASE_S)  # the outage
            server.start()
        load.goes_on()
        count = load.finish()
    _all_ran_once(count, scene, workers)


def test_a_server_that_stands_still_for_longer_than_a_lease_kills_nobody(
    client: QueueTasks, scene: Scene, server: RedisServer, workers: list[WorkerProcess]
) -> None:
    """SIGSTOP and SIGCONT: whoever could renew nothing meanwhile is not dead, and all go on."""
    with Load(client, scene.ledger) as load:
        load.goes_on()
        server.pause()
        time.sleep(LONGER_THAN_A_LEASE_S)  # the outage
        server.resume()
        load.goes_on()
        count = load.finish()
    _all_ran_once(count, scene, workers)


def test_a_server_that_forgets_its_scripts_is_told_them_again(
    client: QueueTasks, scene: Scene, server: RedisServer, workers: list[WorkerProcess]
) -> None:
    """SCRIPT FLUSH, again and again."""
    with Load(client, scene.ledger) as load:
        for _ in range(10):
            load.goes_on(20)
            server.command("SCRIPT", "FLUSH")
        load.goes_on()
        count = load.finish()
    _all_ran_once(count, scene, workers)
