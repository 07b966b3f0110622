"""What becomes of a change whose reply is lost, whose server is away, or whose caller is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.errors import SendUnknownError, UnavailableError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_depends import AsyncState
from qtasks_depends.state import StateLockLostError, StateTypeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.contract import Versioned

TIMEOUT_S = 0.5
PATIENT_S = 20.0


class Free(AsyncState): ...


class Fleeting(AsyncState, ttl=0.01): ...


class Trouble(MemoryGlobalConfig):
    """Has its next writes end as it was told, and is away when it was told so."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.next: list[Callable[[Callable[[], Awaitable[int | None]]], Awaitable[int | None]]] = []
        self.is_away = False

    async def get(self, key: str) -> Versioned:
        if self.is_away:
            raise UnavailableError("it is away")
        return await super().get(key)

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        write = super().cas
        how = self.next.pop(0) if self.next else None
        if how is None:
            return await write(key, value, revision, ttl_s)
        return await how(lambda: write(key, value, revision, ttl_s))

    async def lose_reply(self, write: Callable[[], Awaitable[int | None]]) -> int | None:
        await write()
        raise SendUnknownError("the reply was lost")

    async def lose_request(self, write: Callable[[], Awaitable[int | None]]) -> int | None:
        raise SendUnknownError("the request was lost")


class Cluster:
    """Two processes, as far as states can tell: two apps that share a global config, and nothing else."""

    def __init__(self, send_timeout: float = PATIENT_S) -> None:
        context = QueueTasks("depends", "memory://").core.new_context()
        self.memory = Trouble("memory://", context)
        config = QueueConfig(send_timeout=send_timeout, max_message_bytes=2_000)
        self.apps = [
            QueueTasks(
                "depends",
                broker=MemoryBroker("memory://", context),
                storage=MemoryStorage("memory://", context),
                global_config=self.memory,
                config=config,
            )
            for _ in range(2)
        ]
        self.one, self.other = (Free.of(app) for app in self.apps)

    def meanwhile(self, do: Callable[[], Awaitable[Any]]) -> None:
        """Have the next write lose its reply, after the other process did something."""

        async def lose(write: Callable[[], Awaitable[int | None]]) -> int | None:
            await write()
            await do()
            raise SendUnknownError("the reply was lost")

        self.memory.next.append(lose)


CHANGES: list[Callable[[AsyncState], Awaitable[Any]]] = [
    lambda state: state.increment("n"),
    lambda state: state.compare_and_set("n", 1, 2),
    lambda state: state.update(n=5),
    lambda state: state.delete("n"),
    lambda state: state.clear(),
]


@pytest.mark.parametrize("how", ["lose_reply", "lose_request"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_lost_reply_changes_neither_result_nor_state(
    change: Callable[[AsyncState], Awaitable[Any]], how: str
) -> None:
    """It is looked for, and repeated only when it was not applied; also twice in a row, also when nothing is left."""
    troubled, plain = Cluster(), Cluster()
    for cluster in (troubled, plain):
        await cluster.one.set("n", 1)
    troubled.memory.next = [getattr(troubled.memory, how)] * 2

    found, expected = await change(troubled.one), await change(plain.one)

    assert expected == found
    assert await plain.other.get_all() == await troubled.other.get_all()


@pytest.mark.parametrize("how", ["lose_reply", "lose_request"])
async def test_the_first_write_of_a_bucket_is_exact_too(how: str) -> None:
    """An absent bucket means that it was not applied."""
    cluster = Cluster()
    cluster.memory.next = [getattr(cluster.memory, how)]
    assert 1 == await cluster.one.increment("n")
    assert 1 == await cluster.other.get("n")


async def test_what_somebody_has_cleared_meanwhile_is_not_counted_again() -> None:
    """It was applied before: the emptied bucket knows of it still, whatever was written after."""
    cluster = Cluster()
    cluster.meanwhile(cluster.other.clear)
    assert 1 == await cluster.one.increment("n")
    assert {} == await cluster.other.get_all()

    async def clear_and_count() -> None:
        await cluster.other.clear()
        await cluster.other.increment("n", 10)

    cluster.meanwhile(clear_and_count)
    assert 1 == await cluster.one.increment("n")
    assert {"n": 10} == await cluster.other.get_all()


async def test_who_deletes_is_told_so_although_the_reply_was_lost() -> None:
    """Of two that delete a field one has done it."""
    cluster = Cluster()
    await cluster.one.set("n", 1)
    cluster.meanwhile(lambda: asyncio.sleep(0))
    assert await cluster.one.delete("n")
    assert not await cluster.other.delete("n")


async def test_what_cannot_be_told_any_more_is_said() -> None:
    """More writes came in between than a bucket remembers; nothing is repeated."""
    cluster = Cluster()

    async def write_much() -> None:
        for _ in range(40):
            await cluster.other.increment("other")

    cluster.meanwhile(write_much)
    with pytest.raises(SendUnknownError, match="the reply was lost"):
        await cluster.one.increment("n")
    assert {"n": 1, "other": 40} == await cluster.other.get_all()


async def test_of_a_bucket_whose_time_is_over_nothing_can_be_told() -> None:
    """It may have been there."""
    cluster = Cluster()
    cluster.meanwhile(lambda: asyncio.sleep(0.05))
    with pytest.raises(SendUnknownError, match="the reply was lost"):
        await Fleeting.of(cluster.apps[0]).increment("n")


async def test_a_server_that_stays_away_is_an_error() -> None:
    """After `send_timeout`; nothing was written then."""
    cluster = Cluster(TIMEOUT_S)
    cluster.memory.is_away = True
    for ask in (cluster.one.get_all, lambda: cluster.one.increment("n")):
        with pytest.raises(UnavailableError, match="it is away"):
            await ask()
    cluster.memory.is_away = False
    assert {} == await cluster.one.get_all()


async def test_a_server_that_cannot_be_reached_at_all_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was never there."""
    cluster = Cluster(TIMEOUT_S)

    async def start() -> None:
        raise UnavailableError("it is away")

    monkeypatch.setattr(cluster.memory, "start", start)
    with pytest.raises(UnavailableError, match="it is away"):
        await cluster.one.get_all()


async def test_a_write_without_a_reply_before_the_server_went_away_is_not_said_to_be_undone() -> None:
    """It may be there: the error is that nobody knows."""
    cluster = Cluster(TIMEOUT_S)

    async def go_away() -> None:
        cluster.memory.is_away = True

    cluster.meanwhile(go_away)
    with pytest.raises(SendUnknownError, match="the reply was lost"):
        await cluster.one.increment("n")
    cluster.memory.is_away = False
    assert 1 == await cluster.one.get("n")


async def test_who_is_faster_is_not_overwritten() -> None:
    """The change is made again upon what is there then."""
    cluster = Cluster()

    async def come_late(write: Callable[[], Awaitable[int | None]]) -> int | None:
        await cluster.other.increment("n", 10)
        return await write()

    cluster.memory.next = [come_late]
    assert 11 == await cluster.one.increment("n")


async def test_a_bucket_is_no_larger_than_a_message() -> None:
    """Nothing is written then; what makes it smaller is welcome, also where it was too large before."""
    cluster = Cluster()
    await cluster.one.set("a", "x" * 1_500)
    with pytest.raises(StateTypeError, match=r"at most 2000 bytes in state/Free \(max_message_bytes\), it would have"):
        await cluster.one.set("b", "x" * 600)
    assert ["a"] == list(await cluster.other.get_all())
    await cluster.one.set("a", "x" * 10)
    await cluster.one.set("b", "x" * 600)


# ---------------------------------------------------------------- locks


@pytest.mark.parametrize("how", ["lose_reply", "lose_request"])
async def test_a_lock_is_taken_and_left_once_although_replies_are_lost(how: str) -> None:
    """Its token tells."""
    cluster = Cluster()
    lose = getattr(cluster.memory, how)
    cluster.memory.next = [lose]
    async with cluster.one.lock("door"):
        with pytest.raises(TimeoutError):
            async with cluster.other.lock("door", timeout=0.05):
                raise AssertionError
        cluster.memory.next = [lose]
        await cluster.one.set("n", 1)
        cluster.memory.next = [lose]
    async with cluster.other.lock("door", timeout=10.0):
        assert 1 == await cluster.other.get("n")


@pytest.mark.parametrize("ends", ["timeout", "cancel"])
async def test_who_gives_up_waiting_leaves_no_lock_behind(ends: str) -> None:
    """Also when it was just about to be taken: the next one has it at once, not when its time is over."""
    cluster = Cluster()
    begun = asyncio.Event()

    async def be_slow(write: Callable[[], Awaitable[int | None]]) -> int | None:
        answer = await write()
        begun.set()
        await asyncio.sleep(0.2)
        return answer

    async def take() -> None:
        async with cluster.one.lock("door", ttl=600.0, timeout=0.05 if ends == "timeout" else None):
            raise AssertionError

    cluster.memory.next = [be_slow]
    taking = asyncio.create_task(take())
    await begun.wait()
    if ends == "cancel":
        taking.cancel()
    with pytest.raises(TimeoutError if ends == "timeout" else asyncio.CancelledError):
        await taking
    async with cluster.other.lock("door", timeout=10.0):
        await cluster.other.set("n", 1)


async def test_leaving_a_lock_never_masks_what_went_wrong_inside() -> None:
    """Nor does a server that is away make leaving an error: the lock is free when its time is over."""
    cluster = Cluster(TIMEOUT_S)

    async def fail() -> None:
        async with cluster.one.lock("door"):
            cluster.memory.is_away = True
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await fail()
    cluster.memory.is_away = False
    with pytest.raises(TimeoutError):
        async with cluster.other.lock("door", timeout=0.05):
            raise AssertionError


async def test_a_lock_that_another_one_has_taken_over_stays_the_others() -> None:
    """What the first one writes is refused, and its leaving frees nothing."""
    cluster = Cluster()
    first = cluster.one.lock("door", ttl=0.05)
    await first.__aenter__()
    async with cluster.other.lock("door", ttl=600.0, timeout=10.0):
        with pytest.raises(StateLockLostError):
            await cluster.one.set("n", 1)
        await first.__aexit__(None, None, None)
        with pytest.raises(TimeoutError):
            async with cluster.one.lock("door", timeout=0.05):
                raise AssertionError


async def test_nothing_is_kept_of_a_holder_that_died() -> None:
    """A bucket with nothing but locks goes with them, also when its class keeps its buckets for ever."""
    cluster = Cluster(0.05)
    await cluster.one.lock("door", ttl=0.1).__aenter__()
    assert 1 == len(await cluster.memory.list("state/"))
    async with asyncio.timeout(10):
        while await cluster.memory.list("state/"):
            await asyncio.sleep(0.01)
