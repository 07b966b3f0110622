"""Records: kept for everyone, the first final one wins, and each has its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from qtasks_core.contract import Storage
from qtasks_core.errors import AlreadyExists, ResultExpiredError
from qtasks_core.naming import new_uuid
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.finals import FinalTests
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.results import ResultsSuite
from qtasks_testing.kit.samples import envelope, final, record
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.unique import UniqueTests

if TYPE_CHECKING:
    from qtasks_core.contract import Status, TaskRecord
    from qtasks_testing.kit.bench import Bench

__all__ = ["StorageSuite"]

DAY_S = 86_400.0


async def _get(storage: Storage, *of: TaskRecord) -> list[TaskRecord | None]:
    return list(await storage.get([item.uuid for item in of]))


@requires(Storage)
class StorageSuite(FinalTests, UniqueTests, ResultsSuite):
    """Every Storage passes it; it holds all of ResultsSuite."""

    component = "storage"

    # ------------------------------------------------------------ add and get

    async def test_a_record_comes_back_as_it_was_added(self, bench: Bench) -> None:
        """Every field."""
        storage = await bench.storage()
        sent = envelope("q", priority=-3, created_at=1e9)
        added = record(sent, created_at=1e9, updated_at=1e9, ttl_s=60.0, extra={"tenant": "a", "ü": ""})

        assert list(await storage.add([added])) == [None]

        (got,) = await _get(storage, added)
        assert got is not None
        assert msgspec.structs.replace(got, updated_at=added.updated_at) == added

    async def test_a_final_record_comes_back_as_it_was_finished(self, bench: Bench) -> None:
        """Every field of an end, from another object too."""
        storage = await bench.storage()
        added = record(created_at=1e9)
        await storage.add([added])
        done = final(
            added,
            "error",
            attempt=3,
            started_at=1e9 + 1,
            finished_at=1e9 + 2,
            worker="w1",
            codec="json",
            result=b"",
            error=bytes(range(256)),
            reason='it\'s "why" ü',
            dead_lettered=True,
            progress=b"\x07",
            extra={"a": "b"},
        )

        assert list(await storage.finish([done])) == [None]

        (got,) = await _get(await bench.storage(), added)
        assert got is not None
        expected = msgspec.structs.replace(done, updated_at=got.updated_at, body=got.body, ttl_s=got.ttl_s)
        assert got == expected

    async def test_get_answers_in_the_order_of_the_question(self, bench: Bench) -> None:
        """Unknown ones are None, one asked for twice comes twice, nothing asked gives nothing."""
        storage = await bench.storage()
        added = [record() for _ in range(3)]
        await storage.add(added)
        asked = [added[2].uuid, new_uuid(), added[0].uuid, added[2].uuid, added[1].uuid]

        got = [None if item is None else item.uuid for item in await storage.get(asked)]

        assert got == [asked[0], None, *asked[2:]]
        assert list(await storage.get([])) == []

    async def test_many_records_are_had_at_once(self, bench: Bench) -> None:
        """More than a statement of a database takes parameters."""
        storage = await bench.storage()
        added = [record() for _ in range(1200)]

        assert list(await storage.add(added)) == [None] * 1200
        assert [item and item.uuid for item in await _get(storage, *added)] == [item.uuid for item in added]

    async def test_adding_a_uuid_again_changes_nothing(self, bench: Bench) -> None:
        """AlreadyExists with the item's own uuid is success; its batch mates are added."""
        storage = await bench.storage()
        first, second = record(), record()
        await storage.add([first])

        again, new = await storage.add([record(envelope(uuid=first.uuid), task_name="other"), second])

        assert isinstance(again, AlreadyExists)
        assert again.uuid == first.uuid
        assert new is None
        got = await _get(storage, first, second)
        assert [item and item.task_name for item in got] == [first.task_name, second.task_name]

    async def test_adding_after_the_end_does_not_bring_it_back_to_life(self, bench: Bench) -> None:
        """Sent first, then added: the worker may be faster than the add."""
        storage = await bench.storage()
        task = record()
        await storage.finish([final(task, result=b"\x2a")])

        answers = await storage.add([task])

        assert isinstance(answers[0], AlreadyExists)
        (got,) = await _get(storage, task)
        assert got is not None
        assert (got.status, got.result) == ("success", b"\x2a")

    async def test_an_end_that_was_never_added_is_kept(self, bench: Bench) -> None:
        """The client died between send and add: its task still has a record."""
        storage = await bench.storage()
        task = record()

        assert list(await storage.finish([final(task)])) == [None]
        assert (await storage.wait(task.uuid, bench.patience_s)).status == "success"

    # ------------------------------------------------------------ mark

    async def test_a_mark_says_who_runs_it_since_when(self, bench: Bench) -> None:
        """Status process, seen by everyone; nothing is returned for what is not final."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])

        mark = record(envelope(uuid=task.uuid), "process", worker="w1", started_at=5.0, attempt=1, progress=b"\x05")
        assert list(await storage.mark([mark])) == [None]

        (got,) = await _get(storage, task)
        assert got is not None
        assert (got.status, got.worker, got.started_at, got.progress) == ("process", "w1", 5.0, b"\x05")

    async def test_a_mark_of_an_older_attempt_is_ignored(self, bench: Bench) -> None:
        """A zombie does not overwrite what its successor says."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])
        await storage.mark([record(envelope(uuid=task.uuid, attempt=2), "process", worker="new")])

        assert list(await storage.mark([record(envelope(uuid=task.uuid), "process", worker="old")])) == [None]

        (got,) = await _get(storage, task)
        assert got is not None
        assert (got.worker, got.attempt) == ("new", 2)

    async def test_a_mark_of_a_final_record_returns_it(self, bench: Bench) -> None:
        """A suspect learns that it is done, and is not run; its batch mates are marked."""
        storage = await bench.storage()
        done, other = record(), record()
        await storage.add([done, other])
        await storage.finish([final(done, "dead", dead_lettered=True)])

        marks = [record(envelope(uuid=item.uuid), "process", worker="w1") for item in (done, other)]
        returned = await storage.mark(marks)

        assert [item and (item.uuid, item.status, item.dead_lettered) for item in returned] == [
            (done.uuid, "dead", True),
            None,
        ]
        assert [item and item.status for item in await _get(storage, done, other)] == ["dead", "process"]

    # ------------------------------------------------------------ delete, scan, time

    async def test_deleted_records_are_gone(self, bench: Bench) -> None:
        """The number of those that were there is told; nobody waits for them."""
        storage = await bench.storage()
        kept, gone = record(), record()
        await storage.add([kept, gone])
        await storage.finish([final(kept), final(gone)])

        assert await storage.delete([gone.uuid, new_uuid()]) == 1

        assert [item and item.uuid for item in await _get(storage, kept, gone)] == [kept.uuid, None]
        with pytest.raises(ResultExpiredError):
            await storage.wait(gone.uuid, bench.patience_s)

    async def test_waiting_for_what_nobody_knows_ends_at_once(self, bench: Bench) -> None:
        """Not after the timeout: it will never come."""
        storage = await bench.storage()

        async with asyncio.timeout(bench.patience_s):
            with pytest.raises(ResultExpiredError):
                await storage.wait(new_uuid(), None)

    async def test_scan_finds_by_status_and_by_name(self, bench: Bench) -> None:
        """All, those of a status, those of a name, those of both."""
        storage = await bench.storage()
        tasks = [record(task_name=name) for name in ("a", "a", "b", "b")]
        await storage.add(tasks)
        await storage.finish([final(tasks[0]), final(tasks[2])])

        async def found(status: Status | None = None, task_name: str | None = None) -> list[int]:
            uuids = [item.uuid for item in tasks]
            return sorted([uuids.index(item.uuid) async for item in storage.scan(status, task_name)])

        assert await found() == [0, 1, 2, 3]
        assert await found("success") == [0, 2]
        assert await found(None, "a") == [0, 1]
        assert await found("new", "b") == [3]
        assert await found("dead") == []

    async def test_a_scan_passes_over_many(self, bench: Bench) -> None:
        """Page by page, each once, while others write."""
        storage = await bench.storage()
        tasks = [record() for _ in range(1200)]
        await storage.add(tasks)
        seen = []
        async for item in storage.scan():
            seen.append(item.uuid)
            if len(seen) == 1:
                await storage.finish([final(item)])

        assert sorted(seen) == sorted(item.uuid for item in tasks)

    @requires(Trait.CLOCK)
    async def test_a_final_record_expires(self, bench: Bench) -> None:
        """After its own time, else after the app's; then it is as if it had never been."""
        storage = await bench.storage()
        own, common = record(ttl_s=60.0), record()
        await storage.add([own, common])
        await storage.finish([final(own), final(common)])

        await bench.pass_time(59.0)
        assert None not in await _get(storage, own, common)
        await bench.pass_time(2.0)
        assert [item and item.uuid for item in await _get(storage, own, common)] == [None, common.uuid]
        with pytest.raises(ResultExpiredError):
            await storage.wait(own.uuid, bench.patience_s)
        await bench.pass_time(bench.context.config.result_ttl)
        assert await _get(storage, common) == [None]

    @requires(Trait.CLOCK)
    async def test_an_expired_record_is_not_found_by_a_scan(self, bench: Bench) -> None:
        """Whether it was swept yet or not."""
        storage = await bench.storage()
        task = record(ttl_s=60.0)
        await storage.finish([final(task)])
        await bench.pass_time(61.0)

        assert [item async for item in storage.scan()] == []

    @requires(Trait.CLOCK)
    async def test_an_expired_uuid_can_be_added_again(self, bench: Bench) -> None:
        """Nothing of it is left in the way."""
        storage = await bench.storage()
        task = record(ttl_s=60.0)
        await storage.add([task])
        await storage.finish([final(task)])
        await bench.pass_time(61.0)

        assert list(await storage.add([task])) == [None]

    @requires(Trait.CLOCK)
    async def test_what_is_not_final_does_not_expire(self, bench: Bench) -> None:
        """A task that waits or runs for months still has its record."""
        storage = await bench.storage()
        tasks = [record(ttl_s=60.0) for _ in range(3)]
        await storage.add(tasks)
        await storage.mark([record(envelope(uuid=tasks[1].uuid), "process", ttl_s=60.0)])
        await storage.finish([final(tasks[2], "retry", finished_at=None, result=None)])

        await bench.pass_time(90 * DAY_S)

        assert [item and item.status for item in await _get(storage, *tasks)] == ["new", "process", "retry"]

    # ------------------------------------------------------------ others

    async def test_apps_do_not_see_each_other(self, bench: Bench) -> None:
        """The same uuid in another namespace is another task; clear() keeps to its own."""
        storage, stranger = await bench.storage(), await bench.storage(KitContext())
        task = record()
        await storage.add([task])

        assert await _get(stranger, task) == [None]
        assert list(await stranger.add([task])) == [None]
        await stranger.clear()

        assert None not in await _get(storage, task)
        assert await _get(stranger, task) == [None]

    async def test_clear_deletes_everything(self, bench: Bench) -> None:
        """Records of every status, and the uuids can be used again."""
        storage = await bench.storage()
        tasks = [record(), record()]
        await storage.add(tasks)
        await storage.finish([final(tasks[0])])

        await storage.clear()

        assert [item async for item in storage.scan()] == []
        assert list(await storage.add(tasks)) == [None, None]

    async def test_records_outlive_a_stop(self, bench: Bench) -> None:
        """Stopped and started again, it knows what it knew."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])
        await storage.stop()
        await storage.start()

        assert None not in await _get(storage, task)

    @requires(Trait.DURABLE)
    async def test_records_outlive_the_process(self, bench: Bench) -> None:
        """A result can be had from a later process."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])
        await storage.finish([final(task, result=b"\x2a")])
        await storage.stop()

        later = await bench.storage(bench.context.restarted())

        assert (await later.wait(task.uuid, bench.patience_s)).result == b"\x2a"
