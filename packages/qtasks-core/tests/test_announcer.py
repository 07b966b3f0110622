"""A worker tells the cluster of itself, and warns of others with other tasks; nothing that it meets there stops it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.contract import Capability, Versioned
from qtasks_core.errors import SendUnknownError, UnavailableError
from qtasks_core.shared_memory import SharedMemory
from qtasks_core.triggers import Triggers
from qtasks_core.worker import announcer as announcer_module
from qtasks_core.worker.announcer import Announcement, Announcer

MINE = "worker/worker-1"


class GlobalConfig:
    """Keeps values; fails as told, one error for each call."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.puts: list[tuple[str, float | None]] = []
        self.errors: list[Exception] = []

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        self.puts.append((key, ttl_s))
        if self.errors:
            raise self.errors.pop(0)
        self.values.pop(key, None)
        if value is not None:
            self.values[key] = value

    capabilities = Capability(0)

    async def list(self, prefix: str) -> dict[str, Versioned]:
        return {key: Versioned(value, 1) for key, value in self.values.items() if key.startswith(prefix)}

    def announce(self, name: str, *tasks: str) -> None:
        other = Announcement(
            name=name, host="elsewhere", pid=1, started_at=0.0, concurrency=1, queues=("default",), tasks=tasks
        )
        self.values[f"worker/{name}"] = msgspec.json.encode(other)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> GlobalConfig:
    """Return the global config of a cluster whose workers announce themselves often."""
    monkeypatch.setattr(announcer_module, "_EVERY_S", 0.005)
    return GlobalConfig()


def announcer(cluster: GlobalConfig | None) -> Announcer:
    app = QueueTasks("test", "memory://")
    for name in ("mul", "add"):
        app.task(name=name)(lambda x: x)
    memory = None if cluster is None else SharedMemory(cast("Any", cluster), Triggers())
    engine: Any = SimpleNamespace(shared_memory=memory, context=SimpleNamespace(clock=lambda: 1000.0))
    worker: Any = SimpleNamespace(name="worker-1", concurrency=3, queues=("a", "b"))
    return Announcer(app.core, engine, worker)


async def run_until(one: Announcer, condition: Callable[[], bool]) -> None:
    """Run it until the condition holds; it must not have ended by itself."""
    task = asyncio.create_task(one.run())
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_worker_says_what_it_is(cluster: GlobalConfig) -> None:
    """Where it runs, what it takes and what it knows; the entry outlives two missed rounds."""
    await run_until(announcer(cluster), lambda: bool(cluster.puts))
    said = msgspec.json.decode(cluster.values[MINE], type=Announcement)

    assert ("worker-1", os.getpid(), 1000.0, 3) == (said.name, said.pid, said.started_at, said.concurrency)
    assert (("a", "b"), ("add", "mul")) == (said.queues, said.tasks)
    assert said.host
    assert {(MINE, 60.0)} == set(cluster.puts)


async def test_it_says_it_again_and_again(cluster: GlobalConfig) -> None:
    """The entry has a time to live: a dead worker's disappears by itself."""
    await run_until(announcer(cluster), lambda: len(cluster.puts) > 3)


async def test_it_takes_its_entry_back(cluster: GlobalConfig) -> None:
    """When it stops, it is gone at once."""
    one = announcer(cluster)
    await run_until(one, lambda: MINE in cluster.values)
    await one.leave()

    assert {} == cluster.values


async def test_without_a_global_config_nothing_is_announced() -> None:
    """It ends at once."""
    one = announcer(None)
    async with asyncio.timeout(10):
        await one.run()
        await one.leave()


async def test_a_worker_with_other_tasks_is_told_once(cluster: GlobalConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Two apps of one name share queues: the names that only one of the two has are what somebody needs to know."""
    cluster.announce("worker-2", "add", "sub", "div")
    cluster.announce("worker-3", "add", "mul")
    await run_until(announcer(cluster), lambda: len(cluster.puts) > 5)

    assert [
        (
            "worker worker-2 serves the same app with other tasks; only one of the two has: div, mul, sub",
            logging.WARNING,
        )
    ] == [(one.getMessage(), one.levelno) for one in caplog.records if one.name == "qtasks.worker"]


@pytest.mark.parametrize(
    "value", [b"", b"no json", b"\xff", b'{"name": 7}', b'{"version": 2, "worker": {"name": "x"}}', b"[]"]
)
async def test_what_it_cannot_read_is_passed_over(cluster: GlobalConfig, value: bytes) -> None:
    """Another version may say it in another way; the entries after it are read."""
    cluster.values["worker/a"] = value
    cluster.announce("worker-2", "other")
    one = announcer(cluster)
    await run_until(one, lambda: "worker/worker-2" in one._warned)


async def test_a_newer_worker_may_say_more(cluster: GlobalConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Fields that this version does not know are skipped."""
    cluster.announce("worker-2", "add", "mul")
    value = msgspec.json.decode(cluster.values["worker/worker-2"])
    cluster.values["worker/worker-2"] = msgspec.json.encode({**value, "new": 1})
    await run_until(announcer(cluster), lambda: len(cluster.puts) > 2)

    assert [] == [one for one in caplog.records if one.name == "qtasks.worker"]


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(UnavailableError("down"), False), (SendUnknownError("cut"), False), (TypeError("bug"), True)],
)
async def test_a_failed_round_is_made_up_for_by_the_next(
    cluster: GlobalConfig, error: Exception, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is away is nothing to talk about; a bug of a component is, but the worker goes on."""
    cluster.errors = [error, error]
    await run_until(announcer(cluster), lambda: MINE in cluster.values)
    errors = [one for one in caplog.records if one.levelno >= logging.WARNING and one.name == "qtasks.worker"]

    assert is_told == bool(errors)
    assert len(cluster.puts) >= 3


@pytest.mark.parametrize("error", [UnavailableError("down"), TypeError("bug")])
async def test_a_stop_is_held_up_by_no_failure(cluster: GlobalConfig, error: Exception) -> None:
    """The entry is left to expire."""
    one = announcer(cluster)
    await run_until(one, lambda: MINE in cluster.values)
    cluster.errors = [error]
    await one.leave()

    assert MINE in cluster.values
