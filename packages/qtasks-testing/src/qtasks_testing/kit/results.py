"""Results: outcomes reach whoever waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Storage
from qtasks_testing.kit.leftovers import leftovers
from qtasks_testing.kit.life import LifeTests
from qtasks_testing.kit.samples import envelope, final, record

if TYPE_CHECKING:
    from qtasks_core.contract import Results, Status, TaskRecord
    from qtasks_testing.kit.bench import Bench

__all__ = ["ResultsSuite", "known"]

ENDS: tuple[Status, ...] = ("success", "error", "cancel", "dead")


async def known(results: Results, count: int = 1) -> list[TaskRecord]:
    """Return the records of new tasks whose submitter waits at *results*; a storage has them."""
    records = [record(envelope(reply_to=results.address)) for _ in range(count)]
    if isinstance(results, Storage):
        assert list(await results.add(records)) == [None] * count
    return records


async def _waiting(results: Results, of: TaskRecord) -> asyncio.Task[TaskRecord]:
    """Start to wait for a record, and let the call come to its wait."""
    waiting = asyncio.ensure_future(results.wait(of.uuid, 10.0))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    return waiting


class ResultsSuite(LifeTests):
    """Every Results passes it, a reply mailbox and a full storage alike."""

    component = "storage"

    async def test_an_empty_batch_is_answered_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input."""
        assert list(await (await bench.storage()).finish([])) == []

    async def test_a_waiter_is_woken_by_the_final_record(self, bench: Bench) -> None:
        """Finished by the same object: it gets the record as it was written."""
        results = await bench.storage()
        (task,) = await known(results)
        waiting = await _waiting(results, task)
        done = final(task, result=bytes(range(256)), worker="w1", started_at=1.0, finished_at=2.0)

        assert list(await results.finish([done])) == [None]
        got = await asyncio.wait_for(waiting, bench.patience_s)

        assert (got.uuid, got.status, got.result) == (task.uuid, "success", bytes(range(256)))

    async def test_a_waiter_is_woken_by_another_object(self, bench: Bench) -> None:
        """The worker that finishes is not the client that waits."""
        results, worker = await bench.storage(), await bench.storage(bench.context.seen_by("w1"))
        (task,) = await known(results)
        waiting = await _waiting(results, task)

        await worker.finish([final(task)])

        assert (await asyncio.wait_for(waiting, bench.patience_s)).status == "success"

    async def test_a_waiter_is_woken_from_another_event_loop(self, bench: Bench) -> None:
        """A worker's loop and a client's loop in one process."""
        results = await bench.storage()
        (task,) = await known(results)
        waiting = await _waiting(results, task)

        async def finish() -> None:
            other = bench.make("storage")
            await other.start()
            await other.finish([final(task)])
            await other.stop()

        await bench.elsewhere(finish)

        assert (await asyncio.wait_for(waiting, bench.patience_s)).status == "success"

    async def test_errors_arrive_too(self, bench: Bench) -> None:
        """Each final status is an end to wait for."""
        results = await bench.storage()
        tasks = await known(results, 4)
        done = [
            final(task, status, result=None, error=b"\x93", reason="why")
            for task, status in zip(tasks, ENDS, strict=True)
        ]
        waiting = [await _waiting(results, task) for task in tasks]

        await results.finish(done)

        got = [await asyncio.wait_for(waiter, bench.patience_s) for waiter in waiting]
        assert [item.status for item in got] == list(ENDS)
        assert [item.error for item in got] == [b"\x93"] * 4

    async def test_a_record_that_is_final_already_is_not_waited_for(self, bench: Bench) -> None:
        """A result that came before its waiter is there."""
        results = await bench.storage()
        (task,) = await known(results)
        await results.finish([final(task, result=b"\x2a")])

        assert (await results.wait(task.uuid, bench.patience_s)).result == b"\x2a"

    async def test_waiting_has_an_end(self, bench: Bench) -> None:
        """TimeoutError when the time is over, and the next wait works."""
        results = await bench.storage()
        (task,) = await known(results)

        for timeout_s in (0.0, 0.05):
            with pytest.raises(TimeoutError):
                await results.wait(task.uuid, timeout_s)
        await results.finish([final(task)])

        assert (await results.wait(task.uuid, bench.patience_s)).status == "success"

    async def test_waiting_without_a_limit_is_possible(self, bench: Bench) -> None:
        """None waits for as long as it takes."""
        results = await bench.storage()
        (task,) = await known(results)
        waiting = asyncio.ensure_future(results.wait(task.uuid, None))
        await asyncio.sleep(0.02)

        await results.finish([final(task)])

        assert (await asyncio.wait_for(waiting, bench.patience_s)).status == "success"

    async def test_each_waiter_gets_its_own_record(self, bench: Bench) -> None:
        """Two hundred at once, finished in batches and out of order."""
        results, worker = await bench.storage(), await bench.storage(bench.context.seen_by("w1"))
        tasks = await known(results, 200)
        waiting = [asyncio.ensure_future(results.wait(task.uuid, bench.patience_s)) for task in tasks]
        done = [final(task, result=number.to_bytes(2)) for number, task in enumerate(tasks)]

        for start in range(190, -10, -10):
            answers = await worker.finish(done[start : start + 10])
            assert list(answers) == [None] * 10

        assert [item.result for item in await asyncio.gather(*waiting)] == [n.to_bytes(2) for n in range(200)]

    async def test_a_cancelled_waiter_does_not_disturb_the_others(self, bench: Bench) -> None:
        """Of three that wait for the same record, one goes."""
        results = await bench.storage()
        (task,) = await known(results)
        waiting = [await _waiting(results, task) for _ in range(3)]
        waiting[1].cancel()
        await asyncio.gather(waiting[1], return_exceptions=True)

        await results.finish([final(task)])

        for waiter in (waiting[0], waiting[2]):
            assert (await asyncio.wait_for(waiter, bench.patience_s)).status == "success"

    async def test_a_retry_is_no_end(self, bench: Bench) -> None:
        """The waiter goes on until the final record."""
        results = await bench.storage()
        (task,) = await known(results)
        waiting = await _waiting(results, task)

        await results.finish([final(task, "retry", result=None, finished_at=None)])
        assert not (await asyncio.wait([waiting], timeout=bench.silence_s))[0]
        await results.finish([final(task, attempt=2)])

        got = await asyncio.wait_for(waiting, bench.patience_s)
        assert (got.status, got.attempt) == ("success", 2)

    async def test_a_result_may_be_as_large_as_a_message(self, bench: Bench) -> None:
        """Size is limited by the engine, not here."""
        results = await bench.storage()
        (task,) = await known(results)
        large = bytes(bench.context.config.max_message_bytes)

        assert list(await results.finish([final(task, result=large)])) == [None]

        assert (await results.wait(task.uuid, bench.patience_s)).result == large

    async def test_a_wait_in_vain_leaves_nothing_behind(self, bench: Bench) -> None:
        """A client that asks again and again whether a long task has ended does not fill its memory."""
        results = await bench.storage()
        (task,) = await known(results)

        async def wait() -> None:
            with pytest.raises(TimeoutError):
                await results.wait(task.uuid, 0.001)

        assert await leftovers(wait) < 1

    async def test_a_waiter_is_never_missed(self, bench: Bench) -> None:
        """A record that becomes final while somebody begins to wait for it: whoever is first, it arrives."""
        results, worker = await bench.storage(), await bench.storage(bench.context.seen_by("w1"))
        for task in await known(results, 60):
            waiting = asyncio.ensure_future(results.wait(task.uuid, bench.patience_s))
            await worker.finish([final(task)])
            assert (await waiting).status == "success"
