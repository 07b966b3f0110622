"""Yielded values: in order, from the start or from a place, and with an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Event, Storage
from qtasks_testing.kit.leftovers import leftovers, read_and_leave
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.results import known
from qtasks_testing.kit.samples import envelope, final, record
from qtasks_testing.kit.suite import Suite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from qtasks_core.contract import Results
    from qtasks_testing.kit.bench import Bench

__all__ = ["StreamsSuite"]

Run = tuple[int, int, float]
FIRST: Run = (1, 0, 10.0)
SECOND: Run = (1, 1, 20.0)


def _events(uuid: UUID, numbers: range, run: Run = FIRST) -> list[Event]:
    return [Event(uuid, run, number, "yield", b"%d" % number) for number in numbers]


class Reader:
    """Collects the events of one task in the background."""

    def __init__(self, results: Results, uuid: UUID, after: tuple[Run, int] | None = None) -> None:
        self.seen: list[Event] = []
        self.task = asyncio.ensure_future(self._read(results, uuid, after))

    async def _read(self, results: Results, uuid: UUID, after: tuple[Run, int] | None) -> None:
        async for event in results.events(uuid, after):
            self.seen.append(event)


class StreamsSuite(Suite):
    """Every Results that carries streams passes it."""

    component = "storage"

    async def test_events_arrive_in_order_and_end_with_the_final_record(self, bench: Bench) -> None:
        """Read while they are written, by another object; the values as they were."""
        results, worker = await bench.storage(), await bench.storage(bench.context.seen_by("w1"))
        (task,) = await known(results)
        reader = Reader(results, task.uuid)
        sent = _events(task.uuid, range(30))
        for start in range(0, 30, 10):
            assert list(await worker.append(sent[start : start + 10])) == [None] * 10
            await eventually(lambda: len(reader.seen) == start + 10, bench.patience_s)  # noqa: B023  # used at once

        assert not reader.task.done()
        await worker.finish([final(task)])
        await asyncio.wait_for(reader.task, bench.patience_s)

        assert reader.seen == sent

    async def test_an_empty_batch_is_answered_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input."""
        assert list(await (await bench.storage()).append([])) == []

    async def test_events_of_several_tasks_are_kept_apart(self, bench: Bench) -> None:
        """In one batch, as a group commit mixes them."""
        results = await bench.storage()
        tasks = await known(results, 2)
        sent = [_events(task.uuid, range(5)) for task in tasks]
        readers = [Reader(results, task.uuid) for task in tasks]

        answers = await results.append([event for pair in zip(*sent, strict=True) for event in pair])
        await results.finish([final(task) for task in tasks])
        await asyncio.wait_for(asyncio.gather(*(reader.task for reader in readers)), bench.patience_s)

        assert list(answers) == [None] * 10
        assert [reader.seen for reader in readers] == sent

    async def test_a_reader_goes_on_from_its_place(self, bench: Bench) -> None:
        """After a reconnect it gets what it has not seen."""
        results = await bench.storage()
        (task,) = await known(results)
        sent = _events(task.uuid, range(10))
        await results.append(sent)

        reader = Reader(results, task.uuid, (FIRST, 6))
        await results.finish([final(task)])
        await asyncio.wait_for(reader.task, bench.patience_s)

        assert reader.seen == sent[7:]

    async def test_a_newer_run_starts_the_stream_again(self, bench: Bench) -> None:
        """The worker died: its successor yields from the start, and what its ghost still sends is dropped."""
        results = await bench.storage()
        (task,) = await known(results)
        reader = Reader(results, task.uuid)
        old, new = _events(task.uuid, range(3)), _events(task.uuid, range(5), SECOND)
        await results.append(old)
        await eventually(lambda: len(reader.seen) == 3, bench.patience_s)

        await results.append(new[:2])
        await results.append(_events(task.uuid, range(3, 6)))
        await results.append(new[2:])
        await results.finish([final(task)])
        await asyncio.wait_for(reader.task, bench.patience_s)

        assert reader.seen == [*old, *new]

    async def test_an_event_twice_is_seen_once(self, bench: Bench) -> None:
        """A write whose answer was lost is repeated."""
        results = await bench.storage()
        (task,) = await known(results)
        sent = _events(task.uuid, range(3))
        await results.append(sent)
        await results.append(sent)

        reader = Reader(results, task.uuid)
        await results.finish([final(task)])
        await asyncio.wait_for(reader.task, bench.patience_s)

        assert reader.seen == sent

    async def test_a_reader_who_leaves_leaves_nothing_behind(self, bench: Bench) -> None:
        """Browsers come and go while a task runs for days."""
        results = await bench.storage()
        (task,) = await known(results)
        await results.append(_events(task.uuid, range(3)))

        assert await leftovers(lambda: read_and_leave(results.events(task.uuid), 3)) < 1

    @requires(Storage)
    @pytest.mark.parametrize("how", ["add", "mark"])
    async def test_a_replay_begins_its_stream_anew(self, bench: Bench, how: str) -> None:
        """Its attempts are counted from 1 again, and are no older than those of the life before."""
        storage = await bench.storage()
        (task,) = await known(storage)
        await storage.append(_events(task.uuid, range(3), (3, 0, 10.0)))
        await storage.finish([final(task, "error", result=None, attempt=3)])
        again = envelope(uuid=task.uuid, replays=1)
        if how == "add":
            await storage.add([record(again)])
        else:
            await storage.mark([record(again, "process", started_at=20.0)])

        sent = _events(task.uuid, range(2), (1, 0, 20.0))
        assert list(await storage.append(sent)) == [None] * 2
        await storage.finish([final(again)])

        assert [event async for event in storage.events(task.uuid)] == sent
