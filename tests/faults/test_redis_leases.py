"""Workers on Redis that cannot renew their lease: others take over, they are fenced, and one outcome counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.place import Place
from faults.scene import PATIENCE_S
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.scene import Scene
    from qtasks import QueueTasks
    from qtasks_testing import RedisServer, TcpProxy, WorkerProcess

pytestmark = pytest.mark.timeout(120)
LONGER_THAN_A_LEASE_S = 8


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def place(server: RedisServer) -> Place:
    return Place.on_redis(server.url)


class Zombie:
    """A worker that can be cut off from everything, as by SIGSTOP or by its network."""

    def __init__(self, worker: WorkerProcess, cut_off: Callable[[], None], come_back: Callable[[], None]) -> None:
        self.worker, self.cut_off, self.come_back = worker, cut_off, come_back


@pytest.fixture(params=["stopped", "cut off"])
def zombie(
    request: pytest.FixtureRequest, scene: Scene, server: RedisServer, tcp_proxy: Callable[..., TcpProxy]
) -> Zombie:
    if request.param == "stopped":
        worker = scene.worker("zombie", concurrency=1)
        return Zombie(worker, worker.pause, worker.resume)
    proxy = tcp_proxy(server.port)
    far = {"FAULTS_URL": server.url_at(proxy.host, proxy.port)}
    return Zombie(scene.worker("zombie", concurrency=1, env=far), proxy.hold, proxy.release)


def _is_taken_over(scene: Scene, record_property: Any) -> None:
    """Wait until another one runs the task, and look that this was in time."""
    began = time.monotonic()
    eventually_sync(lambda: 2 == scene.ledger.counts("start")["a"], 4 * scene.place.recovery_s, "the other has it")
    recovery_s = time.monotonic() - began
    record_property("recovery_s", recovery_s)
    print(f"taken over after {recovery_s:.2f} s")
    assert recovery_s <= 3 * scene.place.recovery_s


@pytest.mark.parametrize("name", ["wait_for_file", "wait_in_thread"])
def test_a_worker_that_comes_back_while_another_runs_its_task_is_fenced(
    client: QueueTasks, scene: Scene, zombie: Zombie, name: str, record_property: Any
) -> None:
    """Its run is cancelled, or its result refused; afterwards it works as before."""
    task = client.add_task(name, "a", str(scene.folder / "go"))
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    zombie.cut_off()
    other = scene.worker("other", concurrency=1)
    _is_taken_over(scene, record_property)
    zombie.come_back()
    zombie.worker.wait_log(r"worker zombie was evicted; 1 running task\(s\) are lost")
    assert "process" == task.refresh().status
    (scene.folder / "go").touch()

    assert other.pid == task.result(PATIENCE_S)
    assert 0 == other.stop()
    assert zombie.worker.pid == client.add_task("work", "b").result(PATIENCE_S)
    assert 0 == zombie.worker.stop()
    assert (other.pid, "other") == (task.refresh().returning, task.worker)
    assert {"a": 2, "b": 1} == scene.ledger.counts("start")


def test_a_worker_that_comes_back_with_a_result_is_too_late(
    client: QueueTasks, scene: Scene, zombie: Zombie, record_property: Any
) -> None:
    """The task has ended elsewhere meanwhile: the first result stays."""
    task = client.add_task("wait_in_thread", "a", str(scene.folder / "go"))
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    zombie.cut_off()
    other = scene.worker("other", concurrency=1)
    _is_taken_over(scene, record_property)
    (scene.folder / "go").touch()
    assert other.pid == task.result(PATIENCE_S)
    finished_at = task.finished_at
    zombie.come_back()
    eventually_sync(lambda: 2 == scene.ledger.counts("end")["a"], PATIENCE_S, "the zombie ends it too")
    zombie.worker.wait_log("evicted|taken over")
    assert 0 == zombie.worker.stop()

    assert (other.pid, finished_at) == (task.refresh().returning, task.finished_at)
    assert "other" == task.worker


def test_a_task_that_blocks_the_loop_runs_once(client: QueueTasks, scene: Scene) -> None:
    """The lease is renewed beside it, for as long as it takes; the other worker goes on meanwhile."""
    held = scene.worker("held", concurrency=1)
    task = client.add_task("block_loop", "a", LONGER_THAN_A_LEASE_S)
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    free = scene.worker("free", concurrency=1)
    assert free.pid == client.add_task("work", "meanwhile").result(PATIENCE_S)
    assert {"meanwhile"} == scene.ledger.counts("end").keys()

    assert held.pid == task.result(PATIENCE_S)
    assert {"a": 1, "meanwhile": 1} == scene.ledger.counts("start")
    assert [0, 0] == [held.stop(), free.stop()]
    assert "evicted" not in held.log


def test_a_task_that_holds_the_interpreter_for_longer_than_a_lease_has_one_outcome(
    client: QueueTasks, scene: Scene
) -> None:
    """It runs a second time elsewhere, which its first worker learns; both go on working."""
    held = scene.worker("held", concurrency=1)
    task = client.add_task("hold_interpreter_once", "a", LONGER_THAN_A_LEASE_S + 4)
    eventually_sync(lambda: 1 == scene.ledger.counts("start")["a"], PATIENCE_S, "the task runs")
    free = scene.worker("free", concurrency=1)
    eventually_sync(lambda: 2 == scene.ledger.counts("end")["a"], 2 * PATIENCE_S, "both have ended")

    assert free.pid == task.result(PATIENCE_S)
    again = [client.add_task("work", str(number), 0.5) for number in range(4)]
    assert {held.pid, free.pid} == {one.result(PATIENCE_S) for one in again}
    assert [0, 0] == [held.stop(), free.stop()]
    assert free.pid == task.refresh().returning
