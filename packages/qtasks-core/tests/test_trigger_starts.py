"""A plugin that raises where something starts stops that start; what had begun is stopped again, in reverse order."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.components import Sources
from qtasks_core.errors import SendRefusedError, UnavailableError
from qtasks_core.memory import MemoryBroker
from qtasks_core.memory.component import MemoryComponent
from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")

STARTS = ["global_config_start", "storage_start", "broker_start", "worker_start", "broker_listen_start"]
STARTS.append("starter_start")
STOPS = ["worker_stop", "starter_stop", "broker_stop", "storage_stop", "global_config_stop"]


class BrokenError(Exception):
    """What the plugins of these tests raise."""


def _breaks() -> None:
    raise BrokenError("out of order")


async def _breaks_later() -> None:
    await asyncio.sleep(0)
    _breaks()


def _plugin(**implementations: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in implementations.items()})


def _diary(told: list[str]) -> SimpleNamespace:
    """Return a plugin that notes each start and each stop."""
    return _plugin(**{name: lambda name=name: told.append(name) for name in STARTS + STOPS})


def _run(app: QueueTasks) -> int:
    """Run a worker process's life on a thread, where it installs no signal handlers."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(app.run_forever).result(20)


def test_starts_and_stops_of_a_whole_life(app: QueueTasks) -> None:
    """Each part once, the parts' stops in reverse order; the last start may ask for the stop already."""
    told: list[str] = []

    def stop() -> None:
        app.core.stop_worker()

    app.core.triggers.register(_plugin(starter_start=stop))
    app.core.triggers.register(_diary(told))

    assert 0 == _run(app)
    assert STARTS + STOPS == told


@pytest.mark.parametrize("broken", [_breaks, _breaks_later])
@pytest.mark.parametrize("trigger", STARTS)
def test_a_plugin_that_raises_stops_the_start(
    app: QueueTasks, trigger: str, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs the worker has its error; every part that was told of a start is told of its stop, and is stopped."""
    told: list[str] = []
    up: set[MemoryComponent] = set()
    start = MemoryComponent.start

    async def note(part: MemoryComponent) -> None:
        await start(part)
        up.add(part)

    monkeypatch.setattr(MemoryComponent, "start", note)
    for kind in (MemoryComponent, MemoryBroker):
        monkeypatch.setattr(kind, "stop", _forgetting(kind, up))
    app.core.triggers.register(_diary(told))
    app.core.triggers.register(_plugin(**{trigger: broken}))
    with pytest.raises(BrokenError, match="out of order"):
        _run(app)

    begun = STARTS[: STARTS.index(trigger)]
    ends = [name for name in STOPS if name.replace("stop", "start") in begun]
    assert begun + ends == told
    assert set() == up


def _forgetting(kind: type[MemoryComponent], up: set[MemoryComponent]) -> Callable[..., Any]:
    stop = kind.stop

    async def forget(part: MemoryComponent) -> None:
        await stop(part)
        up.discard(part)

    return forget


def test_tasks_that_ran_meanwhile_are_finished(app: QueueTasks) -> None:
    """A worker that is stopped by the last start has taken tasks already: they end as in any other stop."""

    @app.task
    async def job() -> int:
        return 7

    begun = asyncio.Event()

    async def breaks_when_it_runs(starter: object) -> None:
        await job.add_task().result(timeout=5)
        begun.set()
        _breaks()

    app.core.triggers.register(_plugin(starter_start=breaks_when_it_runs))
    with pytest.raises(BrokenError):
        _run(app)

    assert begun.is_set()


async def test_a_client_that_cannot_start_leaves_nothing_begun(app: QueueTasks) -> None:
    """Its add has the plugin's error, as has the next one; when the plugin is mended, the same client works."""
    told: list[str] = []
    broken = True

    def break_down() -> None:
        if broken:
            _breaks()

    app.core.triggers.register(_diary(told))
    app.core.triggers.register(_plugin(broker_start=break_down))
    for _ in range(2):
        with pytest.raises(BrokenError):
            await app.add_task("job")
    assert ["storage_start", "storage_stop"] * 2 == told

    broken = False
    await app.add_task("job")
    await app.stop()
    assert ["storage_start", "broker_start", "broker_stop", "storage_stop"] == told[4:]


class _Away(MemoryBroker):
    """A broker whose server comes up with the fourth attempt."""

    attempts = 0

    async def start(self) -> None:
        self.attempts += 1
        if self.attempts < 4:
            raise UnavailableError("down")
        await super().start()


async def test_a_server_that_is_away_is_no_new_start(app: QueueTasks) -> None:
    """Plugins are told once, however often it is tried; and of the stop, also when it never came up."""
    told: list[str] = []
    app.core.triggers.register(_diary(told))
    app.core.sources = Sources(broker_url="memory://", broker=_Away("memory://", app.core.new_context()))
    app.core._spare = None
    engine = app.core.engine()
    for _ in range(2):
        with pytest.raises(SendRefusedError, match="the broker could not be reached: down"):
            await engine.start(0.0)
    await engine.start()
    await app.stop()
    assert ["storage_start", "broker_start", "broker_stop", "storage_stop"] == told

    never = app.core.engine()
    never.broker.attempts = 0  # type: ignore[attr-defined]
    with pytest.raises(SendRefusedError):
        await never.start(0.0)
    await app.stop()
    assert ["storage_start", "broker_start", "broker_stop", "storage_stop"] == told[4:]


async def test_a_worker_that_cannot_start_may_start_later(app: QueueTasks, running: Running) -> None:
    """Its executor is stopped with it, and hot triggers may be added meanwhile."""
    trouble: list[object] = [1]

    def break_down() -> None:
        if trouble:
            trouble.pop()
            _breaks()

    @app.task
    def job() -> int:
        return 7

    app.core.triggers.register(_plugin(broker_listen_start=break_down))
    engine = app.core.new_engine("worker-2")
    await engine.start(control=True)
    worker = DefaultWorker(app.core, engine, name="worker-2", queues=("default",), concurrency=1)
    with pytest.raises(BrokenError):
        await worker.start()
    seen: list[str] = []
    app.core.triggers.register(_plugin(worker_execute_before=lambda: seen.append("ran")))

    await worker.start()
    assert 7 == await job.add_task().result(timeout=5)
    await worker.drain(5)
    await worker.stop()
    await app.stop()
    assert ["ran"] == seen


async def test_the_broker_starts_for_a_worker_or_for_none(app: QueueTasks, running: Running) -> None:
    """Plugins are given the worker itself; in a client there is none."""
    seen: list[object] = []

    def see(worker: object) -> None:
        seen.append(worker)

    app.core.triggers.register(_plugin(broker_start=see, broker_stop=see))
    await app.add_task("job")
    await app.stop()
    assert [None, None] == seen

    async with running(app) as worker:
        assert [worker] == seen[2:]
    assert [worker, worker] == seen[2:]
