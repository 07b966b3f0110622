"""Unique keys where broker and storage share no server: claimed in the shared memory, never held for ever.

What users see of unique keys is in the kit's suite of them, which also runs on two servers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Capability
from qtasks_core.errors import (
    AddManyError,
    ConfigError,
    PayloadTooLargeError,
    RefusedError,
    SendRefusedError,
    UnavailableError,
)
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_core.unique_keys import UniqueKeys, keeps_unique_keys
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import final, record
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Envelope, PerItem
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

PATIENCE_S = 0.2
CONFIG = QueueConfig(send_timeout=PATIENCE_S)


class Bench:
    """Keys over a storage and a global config in memory, with a clock to move."""

    def __init__(self) -> None:
        self.context = KitContext(config=CONFIG)
        self.storage = MemoryStorage("memory://records", self.context)
        self.shared = MemoryGlobalConfig("memory://", self.context)
        self.keys = UniqueKeys(self.storage, self.shared, self.context)

    async def holder(self, key: str = "k") -> UUID | None:
        value = (await self.shared.get(f"unique/{key}")).value
        return None if value is None else UUID(msgspec.json.decode(value)[0])


class Plain(MemoryGlobalConfig):
    """A global config without compare-and-set."""

    capabilities: ClassVar[Capability] = Capability(0)


class Mailbox:
    """A storage that nobody can ask."""

    capabilities: ClassVar[Capability] = Capability(0)
    address = "mailbox"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def two_servers(**options: Any) -> QueueTasks:
    app = QueueTasks("test", "memory://", storage_url="memory://records", **options)

    @app.task
    async def echo(x: int) -> int:
        return x

    return app


async def keys_of(app: QueueTasks) -> set[str]:
    """Return what the shared memory holds of unique keys."""
    global_config = app.core.engine().global_config
    assert global_config is not None
    return set(await global_config.list("unique/"))


# ---------------------------------------------------------------- who keeps keys


def test_a_server_that_has_both_keeps_keys_itself() -> None:
    """Fused and able to: nothing is claimed beside it; two servers cannot."""
    context = KitContext()
    broker = MemoryBroker("memory://", context)

    assert keeps_unique_keys(broker, MemoryStorage("memory://", context))
    assert not keeps_unique_keys(broker, MemoryStorage("memory://records", context))


async def test_a_key_that_the_server_keeps_is_not_claimed(app: QueueTasks) -> None:
    """The shared memory hears nothing of it."""
    await app.with_options(unique_key="k").add_task("job")
    global_config = app.core.engine().global_config
    assert global_config is not None
    assert {} == dict(await global_config.list(""))
    await app.stop()


# ---------------------------------------------------------------- claims


async def test_a_claim_whose_task_is_not_known_yet_is_waited_for(bench: Bench) -> None:
    """Who comes second gets the first task when it is there; not before, for it may never be."""
    first, second = record(), new_uuid()
    assert first.uuid == await bench.keys.claim("k", first.uuid, None)

    claiming = asyncio.create_task(bench.keys.claim("k", second, None))
    await asyncio.sleep(0.02)
    assert not claiming.done()
    await bench.storage.add([first])

    assert first.uuid == await claiming


async def test_a_claim_whose_task_was_refused_is_taken_over(bench: Bench) -> None:
    """Who waited for it takes the key."""
    first, second = new_uuid(), new_uuid()
    await bench.keys.claim("k", first, None)
    claiming = asyncio.create_task(bench.keys.claim("k", second, None))
    await asyncio.sleep(0)
    await bench.keys.free("k", first)

    assert second == await claiming == await bench.holder()


async def test_nobody_waits_for_ever(bench: Bench) -> None:
    """A client that died between claim and send: at first the add is refused, later the key is taken over."""
    dead, second = new_uuid(), new_uuid()
    await bench.keys.claim("k", dead, None)

    with pytest.raises(SendRefusedError, match="the unique key 'k' could not be claimed: another task of it is being"):
        await bench.keys.claim("k", second, None)
    bench.context.advance(2 * PATIENCE_S + 1)

    assert second == await bench.keys.claim("k", second, None)


async def test_the_key_of_a_task_that_has_ended_is_taken_over(bench: Bench) -> None:
    """Its worker died before it freed it."""
    first, second = record(), new_uuid()
    await bench.keys.claim("k", first.uuid, None)
    await bench.storage.add([first])
    await bench.storage.finish([final(first)])

    assert second == await bench.keys.claim("k", second, None)


async def test_of_many_who_take_over_one_wins(bench: Bench) -> None:
    """And the others get its task."""
    first = record()
    await bench.keys.claim("k", first.uuid, None)
    await bench.storage.finish([final(first)])
    tasks = [record() for _ in range(20)]
    claiming = [asyncio.create_task(bench.keys.claim("k", one.uuid, None)) for one in tasks]
    await eventually(lambda: any(one.done() for one in claiming))
    await bench.storage.add([one for one in tasks if one.uuid == await bench.holder()])

    assert {await bench.holder()} == set(await asyncio.gather(*claiming))


async def test_a_key_that_is_held_by_the_task_itself_is_its_own(bench: Bench) -> None:
    """Adding under the same uuid again, after an answer that was lost."""
    task = new_uuid()
    await bench.keys.claim("k", task, None)

    assert task == await bench.keys.claim("k", task, None)


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'["no uuid", 1]'])
async def test_a_damaged_claim_holds_nothing(bench: Bench, value: bytes) -> None:
    """The next task takes the key."""
    await bench.shared.put("unique/k", value)
    task = new_uuid()

    assert task == await bench.keys.claim("k", task, None) == await bench.holder()


async def test_only_the_holder_frees_a_key(bench: Bench) -> None:
    """A task whose key has passed to another one by its ttl ends without a word."""
    first, second = new_uuid(), new_uuid()
    await bench.keys.claim("k", first, 10.0)
    bench.context.advance(11)
    await bench.keys.claim("k", second, None)
    await bench.keys.free("k", first)
    assert second == await bench.holder()

    await bench.keys.free("k", second)
    assert await bench.holder() is None


async def test_where_nobody_can_be_asked_a_key_is_held_for_a_day_at_most(bench: Bench) -> None:
    """A mailbox cannot tell whether the holder has ended; a key that nobody freed must not be held for ever."""
    storage: Any = Mailbox()
    keys, first, second = UniqueKeys(storage, bench.shared, bench.context), new_uuid(), new_uuid()
    await keys.claim("k", first, None)

    assert first == await keys.claim("k", second, None)
    bench.context.advance(86_401)
    assert second == await keys.claim("k", second, None)


async def test_a_server_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to `send_timeout`, then the add is refused with the reason."""
    task, cas, calls = new_uuid(), bench.shared.cas, 0

    async def away(*args: Any, **kwargs: Any) -> int | None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise UnavailableError("no route to host")
        return await cas(*args, **kwargs)

    monkeypatch.setattr(bench.shared, "cas", away)
    assert task == await bench.keys.claim("k", task, None)

    calls = -1000
    with pytest.raises(SendRefusedError, match="the unique key 'k' could not be claimed: no route to host"):
        await bench.keys.claim("k", new_uuid(), None)
    await bench.keys.free("other", task)


# ---------------------------------------------------------------- in an app


async def test_a_key_is_freed_when_the_end_is_written(running: Running) -> None:
    """The shared memory holds the keys of tasks that wait or run, and no others."""
    app = two_servers()
    keyed = app.with_options(unique_key="k", results=False)
    task = await keyed.add_task("echo", 1)
    assert {"unique/k"} == await keys_of(app)
    async with running(app):
        await eventually(lambda: _is_free(app))
        again = await keyed.add_task("echo", 2)
        await eventually(lambda: _is_free(app))

    assert task.uuid != again.uuid


async def _is_free(app: QueueTasks) -> bool:
    return not await keys_of(app)


async def test_a_task_that_was_refused_frees_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not queued, so nobody has to wait for it."""
    app = two_servers()

    async def refuse(broker: MemoryBroker, batch: Sequence[Envelope]) -> PerItem:
        return [RefusedError("unroutable") for _ in batch]

    keyed = app.with_options(unique_key="k")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryBroker, "send", refuse)
        with pytest.raises(SendRefusedError, match="unroutable"):
            await keyed.add_task("echo", 1)
        assert set() == await keys_of(app)
    await keyed.add_task("echo", 2)
    assert {"unique/k"} == await keys_of(app)
    await app.stop()


async def test_a_batch_may_hold_tasks_with_keys_and_without(running: Running) -> None:
    """Each gets its own answer, in the order of the calls."""
    app = two_servers(config=QueueConfig(max_message_bytes=1000))
    core, drafts = app.core, []
    for number, key in enumerate(["a", None, "b", "a", None]):
        drafts.append(core.draft("echo", (number,), {}, {} if key is None else {"unique_key": key}))
    drafts.append(core.draft("echo", ("x" * 2000,), {}, {"unique_key": "c"}))

    *records, refused = await core.add_many(drafts)

    uuids = [one.uuid for one in records if not isinstance(one, Exception)]
    assert [drafts[index].uuid for index in (0, 1, 2, 0, 4)] == uuids
    assert isinstance(refused, PayloadTooLargeError)
    assert {"unique/a", "unique/b"} == await keys_of(app)
    await app.stop()


@pytest.mark.parametrize("global_config", [None, Plain])
async def test_where_nothing_can_keep_a_key_it_is_refused_at_the_call(global_config: Any) -> None:
    """The error names the setting that helps; tasks without a key are added all the same."""
    context = QueueTasks("other", "memory://").core.new_context()
    shared = None if global_config is None else global_config("memory://", context)
    storage = MemoryStorage("memory://records", context)
    app = QueueTasks("test", broker=MemoryBroker("memory://", context), storage=storage, global_config=shared)
    job = app.task(name="job")(_job)
    message = "option unique_key: nothing here can keep a key unique: .* with global_config_url="

    with pytest.raises(ConfigError, match=message):
        await job.with_options(unique_key="k").add_task()
    with pytest.raises(AddManyError) as caught:
        await job.with_options(unique_key="k").add_many([()])

    assert [ConfigError] == [type(error) for error in caught.value.exceptions]
    assert 0 == (await app.core.engine().broker.depth("default")).ready
    await job.add_task()
    assert 1 == (await app.core.engine().broker.depth("default")).ready
    await app.stop()


async def _job() -> None: ...
