"""The global config of memory://: what its suite in the kit does not ask of every one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from qtasks_core.contract import Versioned
from qtasks_core.memory import MemoryGlobalConfig
from qtasks_testing import eventually
from qtasks_testing.kit import KitContext

ABSENT = Versioned(None, 0)


@pytest.fixture
def context() -> KitContext:
    return KitContext()


@pytest.fixture
def config(context: KitContext) -> MemoryGlobalConfig:
    return MemoryGlobalConfig("memory://", context)


async def soon(changes: AsyncIterator[tuple[str, Versioned]]) -> tuple[str, Versioned]:
    async with asyncio.timeout(10):
        return await anext(changes)


async def test_revisions_grow_over_all_keys(config: MemoryGlobalConfig) -> None:
    """A key that was deleted and made anew is never taken for the old one."""
    first = await config.cas("a", b"1", 0)
    await config.put("b", b"1")
    assert 0 == await config.cas("a", None, first or 0)
    again = await config.cas("a", b"1", 0)

    assert (1, 3) == (first, again)
    assert await config.cas("a", b"2", 1) is None


async def test_an_expired_key_is_absent(context: KitContext, config: MemoryGlobalConfig) -> None:
    """By the app's clock; a write without a time to live keeps it for good."""
    await config.put("brief", b"1", ttl_s=10)
    await config.put("renewed", b"1", ttl_s=10)
    context.advance(5)
    await config.put("renewed", b"2", ttl_s=10)
    await config.put("kept", b"1", ttl_s=1)
    await config.put("kept", b"2")
    context.advance(6)

    assert ABSENT == await config.get("brief")
    assert {"renewed": b"2", "kept": b"2"} == {key: it.value for key, it in (await config.list("")).items()}
    assert await config.cas("brief", b"3", 0) is not None


async def test_a_watcher_sees_an_expiry(context: KitContext, config: MemoryGlobalConfig) -> None:
    """As a deletion: by its own timer, or when the clock was moved."""
    await config.put("real", b"1", ttl_s=0.05)
    await config.put("moved", b"1", ttl_s=3600)
    changes = config.watch("")
    first = [(await soon(changes))[0] for _ in range(2)]

    by_timer = await soon(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    context.advance(3601)

    assert ["real", "moved"] == first
    assert ("real", ABSENT) == by_timer
    async with asyncio.timeout(10):
        assert ("moved", ABSENT) == await waiting


async def test_a_slow_watcher_sees_the_last_of_each_key(config: MemoryGlobalConfig) -> None:
    """What it has not read costs one value a key, in the order of the last writes."""
    changes = config.watch("k")
    await config.put("k0", b"")
    await soon(changes)
    for i in range(100):
        await config.put(f"k{i % 3}", str(i).encode())
    await config.put("k1", None)
    await config.put("k1", None)  # deletes nothing: no change

    seen = [await soon(changes) for _ in range(3)]

    assert [("k2", b"98"), ("k0", b"99"), ("k1", None)] == [(key, it.value) for key, it in seen]


async def test_clear_is_seen_by_watchers(config: MemoryGlobalConfig) -> None:
    """Each key goes as if it were deleted."""
    await config.put("a", b"1")
    changes = config.watch("")
    await soon(changes)

    await config.clear()

    assert ("a", ABSENT) == await soon(changes)


async def test_a_watcher_that_left_is_forgotten(config: MemoryGlobalConfig) -> None:
    """Changes are noted for readers only."""
    changes = config.watch("")
    reader = asyncio.ensure_future(anext(changes))
    await eventually(lambda: config.server.keys._watchers)

    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)

    assert {} == config.server.keys._watchers
