"""What a worker is asked from outside: the cancels and the pauses that it watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.context import AppContext, SharedObjects
from qtasks_core.contract import GlobalConfig, Versioned
from qtasks_core.control import CANCEL_PREFIX, PAUSE_PREFIX
from qtasks_core.errors import UnavailableError
from qtasks_core.memory import MemoryGlobalConfig
from qtasks_core.naming import new_uuid
from qtasks_core.worker.commands import Commands


class Told:
    """What the worker hears."""

    def __init__(self, shared: GlobalConfig | None) -> None:
        self.cancels: list[tuple[UUID, str]] = []
        self.pauses: list[set[str]] = []
        self.commands = Commands(shared, self._cancel, self._pause)

    def _cancel(self, uuid: UUID, reason: str) -> None:
        self.cancels.append((uuid, reason))

    def _pause(self) -> None:
        self.pauses.append(set(self.commands.paused))


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def shared() -> MemoryGlobalConfig:
    return MemoryGlobalConfig("memory://", AppContext("test", QueueConfig(), SharedObjects()))


@pytest.fixture
async def told(shared: MemoryGlobalConfig) -> AsyncIterator[Told]:
    """Give what a worker hears; it listens when its test starts it."""
    one = Told(shared)
    yield one
    await one.commands.stop()


async def test_what_stands_is_known_when_it_has_started(told: Told, shared: MemoryGlobalConfig) -> None:
    """A worker that takes at once neither takes from a paused queue nor runs what is cancelled."""
    uuid = new_uuid()
    await shared.put(f"{PAUSE_PREFIX}mail", b"1")
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"not wanted")

    await told.commands.start()

    assert {"mail"} == told.commands.paused
    assert {uuid: "not wanted"} == told.commands.cancelled


async def test_a_cancel_is_heard_when_it_is_said(told: Told, shared: MemoryGlobalConfig) -> None:
    """With its reason, whatever bytes that are; a key that is no uuid is nobody's business."""
    uuid = new_uuid()
    await told.commands.start()
    await shared.put(f"{CANCEL_PREFIX}nonsense", b"x")
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"caf\xe9")

    await until(lambda: told.cancels)

    assert [(uuid, "caf\ufffd")] == told.cancels
    assert {uuid: "caf\ufffd"} == told.commands.cancelled


async def test_a_cancel_that_was_obeyed_is_taken_back(told: Told, shared: MemoryGlobalConfig) -> None:
    """Once; nothing is to be done for a task that nobody cancelled."""
    uuid = new_uuid()
    await told.commands.start()
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"enough")
    await until(lambda: told.commands.cancelled)

    taking_back = told.commands.forget(uuid)
    assert taking_back is not None
    await taking_back

    assert (await shared.get(f"{CANCEL_PREFIX}{uuid}")).value is None
    assert told.commands.forget(uuid) is None
    assert told.commands.forget(new_uuid()) is None


async def test_what_another_worker_took_back_is_forgotten(told: Told, shared: MemoryGlobalConfig) -> None:
    """What is remembered does not grow with the cancels of others."""
    uuid = new_uuid()
    await told.commands.start()
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"enough")
    await until(lambda: told.commands.cancelled)
    await shared.put(f"{CANCEL_PREFIX}{uuid}", None)

    await until(lambda: not told.commands.cancelled)


async def test_pauses_are_told_when_they_change(told: Told, shared: MemoryGlobalConfig) -> None:
    """Not when one is said twice."""
    await told.commands.start()
    await shared.put(f"{PAUSE_PREFIX}a", b"1")
    await until(lambda: 1 == len(told.pauses))
    await shared.put(f"{PAUSE_PREFIX}a", b"1")
    await shared.put(f"{PAUSE_PREFIX}b", b"1")
    await until(lambda: 2 == len(told.pauses))
    await shared.put(f"{PAUSE_PREFIX}a", None)

    await until(lambda: told.pauses[-1:] == [{"b"}])
    assert [{"a"}, {"a", "b"}, {"b"}] == told.pauses


async def test_without_a_global_config_nobody_can_ask() -> None:
    """It starts and stops all the same."""
    told = Told(None)

    await told.commands.start()
    assert told.commands.forget(new_uuid()) is None
    await told.commands.stop()

    assert (set(), {}) == (told.commands.paused, told.commands.cancelled)


async def test_it_may_be_stopped_before_it_started(told: Told) -> None:
    """And more than once."""
    await told.commands.stop()
    await told.commands.start()
    await told.commands.start()
    await told.commands.stop()
    await told.commands.stop()


class _Away:
    """A global config whose server is away for the first calls."""

    def __init__(self, inner: GlobalConfig, times: int, error: Exception) -> None:
        self._inner = inner
        self._left = times
        self._error = error

    async def list(self, prefix: str) -> Any:
        self._fail()
        return await self._inner.list(prefix)

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        self._fail()
        async for item in self._inner.watch(prefix):
            yield item

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        self._fail()

    def _fail(self) -> None:
        self._left -= 1
        if self._left >= 0:
            raise self._error


async def test_a_server_that_is_away_is_asked_again(
    shared: MemoryGlobalConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker starts meanwhile, and hears of everything later."""
    uuid = new_uuid()
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"enough")
    await shared.put(f"{PAUSE_PREFIX}mail", b"1")
    away: Any = _Away(shared, 4, UnavailableError("no route"))
    told = Told(away)
    await told.commands.start()
    assert (set(), {}) == (told.commands.paused, told.commands.cancelled)

    await until(lambda: told.commands.cancelled and told.commands.paused)
    await told.commands.stop()

    assert {"mail"} == told.commands.paused
    assert {uuid: "enough"} == told.commands.cancelled
    assert "the global config is away: no route; cancels and pauses are heard later" in caplog.text


async def test_a_watch_that_breaks_begins_anew(shared: MemoryGlobalConfig, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the backend's own is logged, and is not the end of hearing."""
    away: Any = _Away(shared, 0, ValueError("a bug"))
    told = Told(away)
    await told.commands.start()
    away._left = 3
    await until(lambda: caplog.text.count("trying again") >= 3)
    uuid = new_uuid()
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"enough")

    await until(lambda: told.cancels)
    await told.commands.stop()

    assert [(uuid, "enough")] == told.cancels


async def test_a_cancel_that_cannot_be_taken_back_stays(shared: MemoryGlobalConfig) -> None:
    """Until it expires: the server is away, and the worker has other things to do."""
    uuid = new_uuid()
    await shared.put(f"{CANCEL_PREFIX}{uuid}", b"enough")
    away: Any = _Away(shared, 0, UnavailableError("no route"))
    told = Told(away)
    await told.commands.start()
    away._left = 1

    taking_back = told.commands.forget(uuid)
    assert taking_back is not None
    await taking_back

    assert b"enough" == (await shared.get(f"{CANCEL_PREFIX}{uuid}")).value
    await told.commands.stop()
