"""Unique keys where broker and storage share no server: held by compare-and-set."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.context import AppContext, SharedObjects
from qtasks_core.contract import Ack, Capability, Delivery, Outcome, Status, TaskRecord
from qtasks_core.errors import AlreadyFinal, ConfigError, FencedError, UnavailableError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_core.unique import UniqueKeys, freeing, keeps_unique

PATIENCE_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """An app's shared memory and records on servers of their own, and its keys."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.context = AppContext("test", QueueConfig(), SharedObjects())
        self.context.clock = self.clock
        self.shared = MemoryGlobalConfig("memory://shared", self.context)
        self.storage = MemoryStorage("memory://records", self.context)
        self.keys = UniqueKeys(self.shared, self.storage, self.clock, PATIENCE_S)

    async def claimed(self, key: str = "k", **fields: Any) -> TaskRecord:
        """Claim a key for a new task whose record is there then."""
        record = task(key, **fields)
        assert await self.keys.claim(record) is None
        await self.storage.add([record])
        return record


@pytest.fixture
def place() -> Place:
    return Place()


def task(key: str | None = "k", status: Status = "new", uuid: UUID | None = None, **fields: Any) -> TaskRecord:
    """Return a record with a unique key."""
    return TaskRecord(uuid=uuid or new_uuid(), task_name="t", queue="q", status=status, unique_key=key, **fields)


def test_one_server_does_it_itself(place: Place) -> None:
    """In the step that adds a task; two servers cannot."""
    broker = MemoryBroker("memory://records", place.context)

    assert keeps_unique(broker, place.storage)
    assert not keeps_unique(MemoryBroker("memory://other", place.context), place.storage)
    assert not keeps_unique(broker, MemoryStorage("memory://other", place.context))


async def test_a_key_is_held_by_one_task(place: Place) -> None:
    """Others learn which; the same task may claim it again, as after a lost answer."""
    first = await place.claimed()

    assert first.uuid == await place.keys.claim(task())
    assert await place.keys.claim(task(uuid=first.uuid)) is None
    assert await place.keys.claim(task("other")) is None


async def test_of_many_that_claim_at_once_one_holds_it(place: Place) -> None:
    """Those that lose wait until the task of the winner is there."""
    tasks = [task() for _ in range(20)]
    claims = [asyncio.ensure_future(place.keys.claim(one)) for one in tasks]
    await asyncio.wait(claims, return_when=asyncio.FIRST_COMPLETED)
    winners = [one for one, claim in zip(tasks, claims, strict=True) if claim.done()]
    assert 1 == len(winners)
    assert 19 == sum(not claim.done() for claim in claims)
    await place.storage.add(winners)

    found = await asyncio.wait_for(asyncio.gather(*claims), 10)

    assert [None, *[winners[0].uuid] * 19] == sorted(found, key=str, reverse=True)


async def test_the_end_of_the_task_frees_it(place: Place) -> None:
    """Whose key it is by then is looked at first."""
    first = await place.claimed()
    await place.keys.free("k", new_uuid())
    assert first.uuid == await place.keys.claim(task())

    await place.keys.free("k", first.uuid)

    assert await place.keys.claim(task()) is None
    await place.keys.free("never held", first.uuid)


@pytest.mark.parametrize("status", ["success", "error", "cancel", "dead"])
async def test_a_holder_that_has_ended_holds_nothing(place: Place, status: Status) -> None:
    """Its worker could not free the key: whoever asks next takes it."""
    first = await place.claimed()
    await place.storage.finish([task(status=status, uuid=first.uuid)])

    assert await place.keys.claim(task()) is None


async def test_a_holder_that_was_never_sent_holds_it_for_a_while(place: Place) -> None:
    """Its client died in between: after the time that sending may take, the key is free."""
    assert await place.keys.claim(task()) is None
    place.clock.now += PATIENCE_S - 1
    waiting = asyncio.ensure_future(place.keys.claim(task()))
    await asyncio.sleep(0.1)
    assert not waiting.done()

    place.clock.now += 2

    assert await asyncio.wait_for(waiting, 10) is None


async def test_its_time_frees_a_key(place: Place) -> None:
    """unique_ttl is the longest that it is held."""
    first = await place.claimed(unique_ttl_s=60.0)
    place.clock.now += 59
    assert first.uuid == await place.keys.claim(task())
    place.clock.now += 2

    assert await place.keys.claim(task()) is None


async def test_a_mailbox_holds_keys_for_a_day(place: Place) -> None:
    """Nobody can tell whether the holder has ended, so its time is limited."""
    mailbox: Any = object()
    keys = UniqueKeys(place.shared, mailbox, place.clock, PATIENCE_S)
    first = task()
    assert await keys.claim(first) is None
    assert first.uuid == await keys.claim(task())
    place.clock.now += 86_401

    assert await keys.claim(task()) is None


class _NoCompare(MemoryGlobalConfig):
    capabilities = Capability(0)


async def test_without_compare_and_set_it_is_refused(place: Place) -> None:
    """With the name of the setting that helps."""
    for shared in (None, _NoCompare("memory://", place.context)):
        keys = UniqueKeys(shared, place.storage, place.clock, PATIENCE_S)
        with pytest.raises(ConfigError, match=r"option unique_key: nothing here can .* with global_config_url="):
            await keys.claim(task())
        await keys.free("k", new_uuid())


def outcome(record: TaskRecord | None) -> Outcome:
    """Return the outcome of a run."""
    return Outcome(Delivery(None, token=None), Ack(), record)


@pytest.mark.parametrize(
    ("status", "answer", "is_free"),
    [
        ("success", None, True),
        ("dead", None, True),
        ("error", AlreadyFinal("before"), True),
        ("retry", None, False),
        ("success", FencedError("not ours"), False),
        ("success", UnavailableError("away"), False),
    ],
)
async def test_an_end_that_is_written_frees_the_key(
    place: Place, status: Status, answer: Exception | None, *, is_free: bool
) -> None:
    """A retry is no end, and what was not written is not known to have ended."""
    first = await place.claimed()
    batch = [outcome(None), outcome(task(key=None, status="success")), outcome(task(status=status, uuid=first.uuid))]

    async def write(items: Any) -> Any:
        assert batch == list(items)
        return [None, None, answer]

    assert [None, None, answer] == await freeing(write, place.keys)(batch)
    assert (None if is_free else first.uuid) == await place.keys.claim(task())


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a bug")])
async def test_a_key_that_cannot_be_freed_costs_nothing_else(
    place: Place, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome is written; a bug is logged."""

    async def write(items: Any) -> Any:
        return [None for _ in items]

    async def broken(key: str, uuid: UUID) -> None:
        raise error

    place.keys.free = broken  # type: ignore[method-assign]  # that is the test
    with caplog.at_level(logging.ERROR):
        assert [None] == await freeing(write, place.keys)([outcome(task(status="success"))])

    assert isinstance(error, ValueError) is ("could not be freed" in caplog.text)
