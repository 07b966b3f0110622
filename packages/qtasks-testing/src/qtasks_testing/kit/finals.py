"""Ends: the first final record of a task wins, and a replay reopens it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import AlreadyExists, AlreadyFinal
from qtasks_testing.kit.samples import envelope, final, record
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_core.contract import Status, Storage, TaskRecord
    from qtasks_testing.kit.bench import Bench

__all__ = ["FinalTests"]


async def _one(storage: Storage, of: TaskRecord) -> TaskRecord:
    (got,) = await storage.get([of.uuid])
    assert got is not None
    return got


class FinalTests(Suite):
    """Tests of finish()."""

    @pytest.mark.parametrize("second", ["success", "error", "cancel", "dead", "retry"])
    async def test_the_first_final_record_wins(self, bench: Bench, second: Status) -> None:
        """Whatever comes second is answered AlreadyFinal and changes nothing; its batch mates are written."""
        storage = await bench.storage()
        task, other = record(), record()
        await storage.add([task, other])
        await storage.finish([final(task, result=b"\x01")])

        answers = await storage.finish([final(task, second, result=b"\x02", attempt=2), final(other)])

        assert [type(answer) for answer in answers] == [AlreadyFinal, type(None)]
        got = await _one(storage, task)
        assert (got.status, got.result, got.attempt) == ("success", b"\x01", 1)
        assert (await storage.wait(task.uuid, bench.patience_s)).result == b"\x01"
        assert (await _one(storage, other)).status == "success"

    async def test_of_two_in_one_batch_the_first_wins(self, bench: Bench) -> None:
        """A batch is no moment in time."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])

        answers = await storage.finish([final(task, result=b"\x01"), final(task, "error", result=b"\x02")])

        assert [type(answer) for answer in answers] == [type(None), AlreadyFinal]
        assert (await _one(storage, task)).result == b"\x01"

    async def test_of_two_writers_one_wins(self, bench: Bench) -> None:
        """At the same time, each with its own result: exactly one is told that it counts, and it does."""
        first, second = await bench.storage(), await bench.storage(bench.context.seen_by("w2"))
        tasks = [record() for _ in range(40)]
        await first.add(tasks)

        answers = await asyncio.gather(
            first.finish([final(task, result=b"\x00") for task in tasks]),
            second.finish([final(task, result=b"\x01") for task in tasks]),
        )

        for number, task in enumerate(tasks):
            won = [writer for writer in (0, 1) if answers[writer][number] is None]
            assert [bytes(won)] == [(await _one(first, task)).result]

    async def test_a_retry_is_seen_by_everyone(self, bench: Bench) -> None:
        """While it waits for its next attempt the record says so."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])

        answers = await storage.finish([final(task, "retry", attempt=2, result=None, error=b"\x90", finished_at=None)])

        assert list(answers) == [None]
        got = await _one(storage, task)
        assert (got.status, got.attempt, got.error) == ("retry", 2, b"\x90")

    async def test_a_replay_reopens_a_final_record(self, bench: Bench) -> None:
        """An operator sent it again: the new run is marked, waited for, and its end counts."""
        storage = await bench.storage()
        task = record()
        await storage.add([task])
        await storage.finish([final(task, "dead", result=None, reason="why")])
        again = envelope(uuid=task.uuid, replays=1)

        assert list(await storage.mark([record(again, "process", worker="w1")])) == [None]
        assert (await _one(storage, task)).status == "process"
        waiting = asyncio.ensure_future(storage.wait(task.uuid, bench.patience_s))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert list(await storage.finish([final(again, result=b"\x2a")])) == [None]

        got = await waiting
        assert (got.status, got.result, got.replays) == ("success", b"\x2a", 1)

    async def test_a_replay_counts_its_attempts_anew(self, bench: Bench) -> None:
        """Attempt 1 of the next life is newer than attempt 3 of the one before."""
        storage = await bench.storage()
        task = record()
        await storage.finish([final(task, "error", result=None, attempt=3)])
        again = envelope(uuid=task.uuid, replays=1)

        assert list(await storage.mark([record(again, "process", worker="w1")])) == [None]

        got = await _one(storage, task)
        assert (got.status, got.attempt, got.replays) == ("process", 1, 1)

    async def test_adding_a_replay_reopens_a_final_record(self, bench: Bench) -> None:
        """Before it runs it can be waited for, and does not expire; a worker that was quicker is not overwritten."""
        storage = await bench.storage()
        task = record(ttl_s=3600.0)
        await storage.finish([final(task, "dead", result=None, reason="why", attempt=3)])
        again = record(envelope(uuid=task.uuid, replays=1))

        assert list(await storage.add([again])) == [None]
        got = await _one(storage, task)
        assert (got.status, got.attempt, got.replays, got.reason) == ("new", 1, 1, None)
        waiting = asyncio.ensure_future(storage.wait(task.uuid, bench.patience_s))
        await asyncio.sleep(0.02)
        assert not waiting.done()

        await storage.mark([record(envelope(uuid=task.uuid, replays=1), "process", worker="w1")])
        assert [type(answer) for answer in await storage.add([again])] == [AlreadyExists]
        assert (await _one(storage, task)).status == "process"
        await storage.finish([final(envelope(uuid=task.uuid, replays=1), result=b"\x2a")])
        assert (await waiting).result == b"\x2a"
        assert [type(answer) for answer in await storage.add([again])] == [AlreadyExists]
        assert (await _one(storage, task)).status == "success"

    async def test_a_replay_that_ends_unmarked_replaces_the_record(self, bench: Bench) -> None:
        """A short run is finished without a mark."""
        storage = await bench.storage()
        task = record()
        await storage.finish([final(task, "error", result=None, error=b"\x90")])

        assert list(await storage.finish([final(envelope(uuid=task.uuid, replays=2), result=b"\x2a")])) == [None]

        got = await _one(storage, task)
        assert (got.status, got.result, got.replays) == ("success", b"\x2a", 2)

    async def test_what_ran_before_the_replay_does_not_end_it(self, bench: Bench) -> None:
        """A zombie of the earlier life comes too late."""
        storage = await bench.storage()
        task = record()
        await storage.finish([final(task, "dead", result=None)])
        replayed = envelope(uuid=task.uuid, replays=1)
        await storage.finish([final(replayed, result=b"\x01")])

        answers = await storage.finish([final(task, result=b"\x02")])

        assert [type(answer) for answer in answers] == [AlreadyFinal]
        assert (await _one(storage, task)).result == b"\x01"
