"""Eviction: what a dead or hung worker held goes to others, charged, and its old owner is fenced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from qtasks_core.contract import Capability, Depth, Evicts, Retry
from qtasks_core.errors import FencedError
from qtasks_testing.kit.receiving import let_run, survivors
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, envelope_of, envelopes, next_attempt, outcome, sorted_uuids, uuids_of
from qtasks_testing.kit.settling import assert_depth
from qtasks_testing.kit.suite import Suite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery
    from qtasks_testing.kit.bench import Bench
    from qtasks_testing.kit.consumer import Consumer

__all__ = ["EvictsSuite", "evict"]


async def evict(bench: Bench, worker: str) -> int:
    """Take a worker's deliveries away, as a process does that is no worker itself."""
    broker = cast("Evicts", await bench.broker())
    return await broker.evict(worker)


@requires(Evicts)
class EvictsSuite(Suite):
    """Every broker that Evicts passes it."""

    component = "broker"

    async def test_what_an_evicted_worker_held_goes_to_others(self, bench: Bench) -> None:
        """All of it, as it was sent, and the number is told; what it had settled stays settled."""
        sent = envelopes(5)
        await (await bench.sender()).send(sent)
        dead, other = await bench.consumer(), await bench.consumer("w2")
        held = await dead.take(4)
        await dead.ack(held[0])

        assert await evict(bench, "w1") == 3

        await dead.subscribe(())
        again = await other.take(4)
        assert sorted_uuids(again) == sorted(set(sorted_uuids(sent)) - {envelope_of(held[0]).uuid})
        assert await other.drain() == []

    async def test_a_crash_is_charged_to_what_was_held(self, bench: Bench) -> None:
        """And it is suspect: perhaps its run came to an end. What waited is neither."""
        sent = [envelope(crashes=1), envelope()]
        await (await bench.sender()).send(sent)
        dead, other = await bench.consumer(), await bench.consumer("w2")
        held = await dead.take_one()
        await dead.subscribe(())

        await evict(bench, "w1")

        again = {envelope_of(delivery).uuid: delivery for delivery in await other.take(2)}
        taken_over = again.pop(envelope_of(held).uuid)
        assert (taken_over.crashes, taken_over.suspect) == (held.crashes + 1, True)
        assert [
            (delivery.suspect, delivery.crashes - envelope_of(delivery).crashes) for delivery in again.values()
        ] == [(False, 0)]

    async def test_crashes_are_counted_over_several_workers(self, bench: Bench) -> None:
        """A task that kills its worker again and again is found out; the attempt stays the same."""
        await (await bench.sender()).send([envelope(attempt=2)])
        charged = []
        for number in range(4):
            victim = await bench.consumer(f"w{number}")
            held = await victim.take_one()
            charged.append((held.crashes, envelope_of(held).attempt))
            await victim.subscribe(())
            await evict(bench, f"w{number}")

        assert charged == [(0, 2), (1, 2), (2, 2), (3, 2)]

    async def test_a_retry_counts_crashes_from_its_envelope_on(self, bench: Bench) -> None:
        """What the engine writes into the new envelope holds: nothing is counted twice."""
        await (await bench.sender()).send([envelope()])
        dead, other = await bench.consumer(), await bench.consumer("w2")
        await dead.take_one()
        await dead.subscribe(())
        await evict(bench, "w1")
        held = await other.take_one()

        await other.settle(outcome(held, Retry(next_attempt(held, crashes=held.crashes))))
        again = await other.take_one()

        assert (again.crashes, again.suspect) == (1, False)

    async def test_an_eviction_wakes_who_waits(self, bench: Bench) -> None:
        """Taken over at once, not at somebody's next look."""
        await (await bench.sender()).send([envelope()])
        dead, other = await bench.consumer(), await bench.consumer("w2")
        held = await dead.take_one()
        await dead.subscribe(())
        receiving = asyncio.ensure_future(other.take_one())
        await asyncio.sleep(0.02)
        assert not receiving.done()

        await evict(bench, "w1")

        assert uuids_of([await receiving]) == [envelope_of(held).uuid]

    async def test_the_old_owner_is_told(self, bench: Bench) -> None:
        """lost() names the deliveries that are no longer its own, and only those."""
        await (await bench.sender()).send(envelopes(3))
        zombie, other = await bench.consumer(), await bench.consumer("w2")
        held = await zombie.take(2)
        await zombie.subscribe(())
        await other.take(1)

        await evict(bench, "w1")

        await eventually(lambda: len(zombie.lost) == 2, bench.patience_s, "lost() was called for both")
        assert sorted_uuids(zombie.lost) == sorted_uuids(held)
        assert not other.lost

    @requires(Capability.FENCED)
    async def test_settling_what_was_lost_hides_nothing_that_is_held(self, bench: Bench) -> None:
        """Evicted, it took the same message again and settled its old handle: the next eviction is told as well."""
        await (await bench.sender()).send([envelope()])
        zombie = await bench.consumer()
        old = await zombie.take_one()
        await evict(bench, "w1")
        new = await zombie.take_one()
        assert [type(answer) for answer in await zombie.settle(outcome(old))] == [FencedError]
        await zombie.subscribe(())

        await evict(bench, "w1")

        await eventually(lambda: new in zombie.lost, bench.patience_s, "lost() was called for the newer delivery")

    @requires(Capability.FENCED)
    async def test_the_old_owner_is_fenced(self, bench: Bench) -> None:
        """Nothing of what it settles is applied: no end, no follow-up; the new owner's outcome counts."""
        await (await bench.sender()).send([envelope()])
        zombie, other = await bench.consumer(), await bench.consumer("w2", ("default", "next"))
        old = await zombie.take_one()
        await zombie.subscribe(())
        await evict(bench, "w1")

        before = await zombie.settle(outcome(old, sends=[(None, envelope("next"))]))
        new = await other.take_one()
        after = await zombie.settle(outcome(old))

        assert [type(answer) for answer in (*before, *after)] == [FencedError, FencedError]
        assert await other.drain() == []
        await other.ack(new)
        await assert_depth(other.broker, Depth(0, 0, 0, 0))

    @requires(Capability.FENCED)
    async def test_the_retry_of_an_old_owner_makes_no_second_copy(self, bench: Bench) -> None:
        """A zombie that failed may not run the task beside its new owner."""
        await (await bench.sender()).send([envelope()])
        zombie, other = await bench.consumer(), await bench.consumer("w2")
        old = await zombie.take_one()
        await zombie.subscribe(())
        await evict(bench, "w1")
        new = await other.take_one()

        answers = await zombie.settle(outcome(old, Retry(next_attempt(old))))

        assert [type(answer) for answer in answers] == [FencedError]
        await other.ack(new)
        assert await other.drain() == []

    @requires(Capability.FENCED)
    async def test_one_batch_of_an_old_owner_may_hold_old_and_new(self, bench: Bench) -> None:
        """Item by item: what it took after its eviction is its own."""
        sender = await bench.sender()
        await sender.send([envelope()])
        zombie, other = await bench.consumer(), await bench.consumer("w2")
        old = await zombie.take_one()
        await zombie.subscribe(())
        await evict(bench, "w1")
        await other.take_one()
        await sender.send([envelope()])
        await zombie.subscribe()
        new = await zombie.take_one()

        answers = await zombie.settle(outcome(old), outcome(new))

        assert [type(answer) for answer in answers] == [FencedError, type(None)]

    async def test_an_evicted_worker_that_lives_goes_on(self, bench: Bench) -> None:
        """It was paused, not dead: it takes messages again, those that it lost too."""
        sender, zombie = await bench.sender(), await bench.consumer()
        first, second = envelope(), envelope()
        await sender.send([first])
        await zombie.take_one()
        await evict(bench, "w1")
        await sender.send([second])

        held = await zombie.take(2)

        assert sorted_uuids(held) == sorted_uuids([first, second])
        await zombie.ack(*held)

    async def test_an_eviction_beside_a_receive_is_told_of_what_was_seen(self, bench: Bench) -> None:
        """Whenever it comes: what the call returned is held, or lost() names it; what nobody saw is not told."""
        sender, zombie = await bench.sender(), await bench.consumer()
        lost: list[Delivery] = []
        for turn in range(120):
            await sender.send([envelope()])
            receiving = asyncio.ensure_future(_received(zombie))
            await let_run(turn)
            if turn % 5 < 3:
                receiving.cancel()
            taken = await cast("Evicts", sender).evict("w1")
            got = await survivors(receiving)
            if got and taken > got[0].crashes:  # one that is charged already is of the worker's next life
                lost += got
                await eventually(lambda: got[0] in zombie.lost, bench.patience_s, "lost() was called")  # noqa: B023  # used at once
                got = await zombie.take(1)
            await zombie.ack(*(got or await zombie.take(1)))

        assert zombie.lost == lost

    async def test_others_are_not_touched(self, bench: Bench) -> None:
        """An eviction takes from one worker only."""
        await (await bench.sender()).send(envelopes(2))
        dead, other = await bench.consumer(), await bench.consumer("w10")
        await dead.take_one()
        held = await other.take_one()

        assert await evict(bench, "w1") == 1

        await other.ack(held)
        assert not other.lost

    async def test_evicting_a_worker_that_holds_nothing_is_no_error(self, bench: Bench) -> None:
        """Nor one that nobody ever heard of."""
        await bench.consumer()

        assert await evict(bench, "w1") == 0
        assert await evict(bench, "unheard of") == 0

    async def test_an_eviction_during_a_pause_finds_what_is_held(self, bench: Bench) -> None:
        """Held deliveries stay charged to a worker that takes no more."""
        await (await bench.sender()).send(envelopes(2))
        draining, other = await bench.consumer(), await bench.consumer("w2")
        await draining.take(2)
        await draining.subscribe(())

        assert await evict(bench, "w1") == 2
        assert len(await other.take(2)) == 2


async def _received(zombie: Consumer) -> Sequence[Delivery]:
    """Receive one, and check that it was not taken over on its way."""
    got = await zombie.broker.receive(1)
    assert [delivery for delivery in got if delivery in zombie.lost] == []
    return got
