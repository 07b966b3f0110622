"""The suite of every broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.life import LifeTests
from qtasks_testing.kit.ordering import DelayTests, OrderTests
from qtasks_testing.kit.receiving import ReceiveTests
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, envelopes, outcome, sorted_uuids, uuids_of
from qtasks_testing.kit.settling import SettleTests
from qtasks_testing.kit.subject import Trait

if TYPE_CHECKING:
    from qtasks_core.contract import Delivery
    from qtasks_testing.kit.bench import Bench

__all__ = ["BrokerSuite"]


class BrokerSuite(LifeTests, ReceiveTests, OrderTests, DelayTests, SettleTests):
    """Every Broker passes it, and SenderSuite too."""

    component = "broker"

    async def test_a_thousand_messages_pass_through_each_once(self, bench: Bench) -> None:
        """Two workers, batches of every size: nothing lost, nothing twice, nothing left."""
        sent = envelopes(1000)
        sender = await bench.sender()
        workers = [await bench.consumer("w1"), await bench.consumer("w2")]
        done: list[Delivery] = []
        for start in range(0, 1000, 125):
            await sender.send(sent[start : start + 125])
            for number, worker in enumerate(workers):
                held = await worker.receive(17 * (number + 1))
                await worker.ack(*held)
                done += held
        for worker in workers:
            held = await worker.drain()
            await worker.ack(*held)
            done += held

        assert sorted_uuids(done) == sorted_uuids(sent)

    async def test_apps_do_not_receive_from_each_other(self, bench: Bench) -> None:
        """A queue of the same name in another namespace is another queue."""
        stranger = await bench.consumer(context=KitContext())
        sent = envelope()
        await (await bench.sender()).send([sent])

        assert await stranger.drain() == []
        await stranger.broker.clear()

        assert uuids_of(await (await bench.consumer()).drain()) == [sent.uuid]

    async def test_clear_takes_what_is_held_too(self, bench: Bench) -> None:
        """flush_all() leaves nothing that could come back."""
        await (await bench.sender()).send(envelopes(3))
        consumer = await bench.consumer()
        held = await consumer.take(2)

        await consumer.broker.clear()
        await consumer.broker.settle([outcome(delivery) for delivery in held])

        assert await consumer.drain() == []

    @requires(Trait.DURABLE)
    async def test_messages_outlive_the_process(self, bench: Bench) -> None:
        """A later process finds what waited, and what was held by one that ended."""
        sent = [envelope(), envelope(), envelope("default", delay_s=1.0)]
        sender, consumer = await bench.sender(), await bench.consumer()
        await sender.send(sent)
        await consumer.take(1)
        await consumer.broker.stop()
        await sender.stop()

        await bench.pass_time(1.0)
        later = await bench.consumer("w2", context=bench.context.restarted())

        assert sorted(uuids_of(await later.take(3))) == sorted_uuids(sent)
