"""Connections to Redis that break: half-way through a request or an answer, before the answer, all at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from faults.load import NO_CHARGE, Load, calls
from faults.place import Place
from faults.scene import PATIENCE_S
from qtasks import QueueTasks
from qtasks_testing.ledger import Ledger
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.scene import Scene
    from qtasks_testing import ProxyCut, RedisServer, TcpProxy, WorkerProcess

pytestmark = pytest.mark.timeout(120)
SMALL, LARGE = "needle in a text", "needle in " + "hay" * 50_000
SIZES = pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["small", "large"])
NEEDLE = b"needle"


@pytest.fixture
def server(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def place(server: RedisServer) -> Place:
    """Return a place that is reached as nothing stood between."""
    return Place.on_redis(server.url)


@pytest.fixture
def proxy(server: RedisServer, tcp_proxy: Callable[..., TcpProxy]) -> TcpProxy:
    return tcp_proxy(server.port)


@pytest.fixture
def far_url(server: RedisServer, proxy: TcpProxy) -> str:
    """Return the same place through the proxy."""
    return server.url_at(proxy.host, proxy.port)


@pytest.fixture
def far_client(place: Place, far_url: str) -> Iterator[QueueTasks]:
    with QueueTasks(place.name, far_url) as app:
        yield app


@pytest.fixture
def far_worker(scene: Scene, far_url: str) -> WorkerProcess:
    """Return a worker behind the proxy, in which no task survives a crash that it is charged with."""
    return scene.worker("far", concurrency=8, env={"FAULTS_URL": far_url, **NO_CHARGE})


# ---------------------------------------------------------------- adding


def _half_way(proxy: TcpProxy) -> ProxyCut:
    return proxy.cut_requests(NEEDLE, 2)


def _before_the_answer(proxy: TcpProxy) -> ProxyCut:
    return proxy.lose_reply(NEEDLE)


BREAKS = pytest.mark.parametrize("cut_it", [_half_way, _before_the_answer], ids=["half-way", "before the answer"])


@BREAKS
@SIZES
def test_a_task_whose_add_is_cut_is_queued_once(
    far_client: QueueTasks, proxy: TcpProxy, scene: Scene, payload: str, cut_it: Callable[[TcpProxy], ProxyCut]
) -> None:
    """Whether the server has got it or not: the call comes back without an error, and the task runs once."""
    cut = cut_it(proxy)
    task = far_client.add_task("carry", "it", payload)
    cut.wait()
    worker = scene.worker("near")
    assert payload == task.result(PATIENCE_S)
    assert worker.pid == far_client.add_task("work", "last").result(PATIENCE_S)

    assert {"it": 1, "last": 1} == scene.ledger.counts("start")


def test_a_batch_whose_answer_is_lost_is_queued_once(far_client: QueueTasks, proxy: TcpProxy, scene: Scene) -> None:
    """All of it, each item once."""
    cut = proxy.lose_reply(NEEDLE)
    tasks = calls(far_client).add_many([(f"needle {number}", 0.0) for number in range(500)])
    cut.wait()
    scene.worker("near")
    for task in tasks:
        task.result(PATIENCE_S)
    assert {f"needle {number}": 1 for number in range(500)} == scene.ledger.counts("start")


def test_an_add_whose_answer_never_comes_is_queued_once(
    far_client: QueueTasks, proxy: TcpProxy, scene: Scene, server: RedisServer
) -> None:
    """Nobody is told of the break: the call gives up waiting for that answer, and asks again."""
    far_client.add_task("work", "first")
    proxy.swallow_replies()
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(far_client.add_task, "work", "second")
        time.sleep(1)  # it has been sent by then
        proxy.pass_replies()
        task = adding.result(PATIENCE_S)
    worker = scene.worker("near")
    assert worker.pid == task.result(PATIENCE_S)
    eventually_sync(lambda: 2 == len(scene.ledger.counts("end")), PATIENCE_S, "both ran")
    assert {"first": 1, "second": 1} == scene.ledger.counts("start")


# ---------------------------------------------------------------- working


@SIZES
def test_a_task_that_is_cut_on_its_way_to_a_worker_runs_once(
    client: QueueTasks, proxy: TcpProxy, scene: Scene, far_worker: WorkerProcess, payload: str
) -> None:
    """The worker never saw what it holds; it gets it again, uncharged, and takes what comes after."""
    cut = proxy.cut_replies(NEEDLE, 2)
    task = client.add_task("carry", "it", payload)
    cut.wait()
    assert payload == task.result(PATIENCE_S)
    assert far_worker.pid == client.add_task("work", "last").result(PATIENCE_S)

    assert {"it": 1, "last": 1} == scene.ledger.counts("start")


@BREAKS
@SIZES
def test_a_result_that_is_cut_on_its_way_to_the_server_is_there(
    client: QueueTasks,
    proxy: TcpProxy,
    far_worker: WorkerProcess,
    payload: str,
    cut_it: Callable[[TcpProxy], ProxyCut],
) -> None:
    """Whether the server has got it or not: it is written once, whoever waits is told, nothing runs again."""
    client.add_task("work", "first").result(PATIENCE_S)
    cut = cut_it(proxy)
    task = client.add_task("carry", "it", payload)
    assert payload == task.result(PATIENCE_S)
    cut.wait()
    assert far_worker.pid == client.add_task("work", "last").result(PATIENCE_S)

    assert payload == client.get(task.uuid).result(PATIENCE_S)
    assert {"first": 1, "it": 1, "last": 1} == Ledger(far_worker.cwd / "ledger").counts("end")
    assert "taken over" not in far_worker.log
    assert 0 == far_worker.stop()


@SIZES
def test_a_result_that_is_cut_on_its_way_to_a_waiter_is_there(
    far_client: QueueTasks, proxy: TcpProxy, scene: Scene, payload: str
) -> None:
    """Who waits gets it when connected again, though nobody tells a mailbox twice."""
    scene.worker("near")
    task = far_client.with_options(delay=1.0).add_task("carry", "it", payload)
    cut = proxy.cut_replies(NEEDLE, 2)
    assert payload == task.result(PATIENCE_S)
    cut.wait()


# ---------------------------------------------------------------- all of them


def test_connections_that_are_cut_again_and_again_lose_and_repeat_nothing(
    far_client: QueueTasks, proxy: TcpProxy, scene: Scene, far_worker: WorkerProcess
) -> None:
    """Of clients and workers in mid-load, and new ones refused for a while."""
    with Load(far_client, scene.ledger) as load:
        for number in range(12):
            load.goes_on(30)
            if number % 4 == 3:
                proxy.refuse()
            proxy.cut()
            if number % 4 == 3:
                time.sleep(1)  # the outage
                proxy.accept()
        load.goes_on()
        count = load.finish()

    print(f"{count} tasks")
    assert {str(number): 1 for number in range(count)} == scene.ledger.counts("start")
    assert 0 == far_worker.stop()


def test_a_slow_network_loses_and_repeats_nothing(
    far_client: QueueTasks, proxy: TcpProxy, scene: Scene, far_worker: WorkerProcess
) -> None:
    """Each piece a tenth of a second late, in both directions."""
    proxy.delay(0.1)
    with Load(far_client, scene.ledger) as load:
        load.goes_on(50)
        count = load.finish()

    assert {str(number): 1 for number in range(count)} == scene.ledger.counts("start")
    assert 0 == far_worker.stop()


def _ids(server: RedisServer) -> list[str]:
    """Return the ids of all connections but the one that asks."""
    listed = server.command("CLIENT", "LIST").decode().splitlines()
    fields = [dict(field.split("=", 1) for field in line.split(" ")) for line in listed]
    return [one["id"] for one in fields if one["cmd"] != "client|list"]


def test_each_kind_of_connection_may_be_killed(
    client: QueueTasks, scene: Scene, server: RedisServer, place: Place
) -> None:
    """CLIENT KILL of one after the other, of client and worker: after each all works as before, nothing runs twice."""
    worker = scene.worker("a", env=NO_CHARGE)
    assert worker.pid == client.add_task("work", "first").result(PATIENCE_S)
    asleep = client.add_task("wait_for_file", "asleep", str(scene.folder / "go"))
    with QueueTasks(place.name, place.url) as other, ThreadPoolExecutor(2) as pool:
        waiters = [pool.submit(app.get(asleep.uuid).result, 2 * PATIENCE_S) for app in (client, other)]
        killed = _ids(server)
        for number, one in enumerate(killed):
            assert 1 == server.command("CLIENT", "KILL", "ID", one)
            assert worker.pid == client.add_task("work", f"small {number}").result(PATIENCE_S)
            late = client.with_options(delay=0.2).add_task("work", f"late {number}")
            assert worker.pid == late.result(PATIENCE_S)
        (scene.folder / "go").touch()
        assert [worker.pid] * 2 == [waiter.result(PATIENCE_S) for waiter in waiters]

    print(f"{len(killed)} connections")
    assert len(killed) >= 4
    assert {1} == set(scene.ledger.counts("start").values())
    assert 0 == worker.stop()


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_all_connections_of_a_kind_may_be_killed_in_mid_load(
    client: QueueTasks, scene: Scene, server: RedisServer, kind: str
) -> None:
    """CLIENT KILL TYPE, again and again: no bell and no result is missed for good."""
    worker = scene.worker("a", env=NO_CHARGE)
    with Load(client, scene.ledger) as load:
        for _ in range(8):
            load.goes_on(20)
            server.command("CLIENT", "KILL", "TYPE", kind)
        load.goes_on()
        count = load.finish()

    assert {str(number): 1 for number in range(count)} == scene.ledger.counts("start")
    assert 0 == worker.stop()


def test_a_bell_that_was_not_heard_is_made_up_for(client: QueueTasks, scene: Scene, server: RedisServer) -> None:
    """An idle worker whose listening connection dies, at the moment in which a task is added: it comes all the same."""
    worker = scene.worker("a")
    stop = threading.Event()

    def kill_all() -> None:
        while not stop.wait(0.02):
            server.command("CLIENT", "KILL", "TYPE", "pubsub")

    for number in range(5):
        with ThreadPoolExecutor(1) as pool:
            stop.clear()
            killing = pool.submit(kill_all)
            tasks = calls(client).add_many([(f"{number} {one}", 0.0) for one in range(10)])
            stop.set()
            killing.result()
            assert {worker.pid} == {task.result(PATIENCE_S) for task in tasks}
    assert {1} == set(scene.ledger.counts("start").values())
