"""What operators do: look into a queue, send dead letters again, empty it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import Dead, Depth, Inspectable
from qtasks_testing.kit.context import KIT_CONFIG, KitContext
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, envelopes, envelopes_of, outcome, sorted_uuids, uuids_of
from qtasks_testing.kit.settling import assert_depth
from qtasks_testing.kit.suite import Suite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from qtasks_core.contract import Envelope
    from qtasks_testing.kit.bench import Bench
    from qtasks_testing.kit.consumer import Consumer

__all__ = ["InspectableSuite"]


def _anew(before: Envelope) -> Envelope:
    return msgspec.structs.replace(before, replays=before.replays + 1, crashes=0, body=before.body + b"\x00")


async def _bury(bench: Bench, count: int, context: KitContext | None = None) -> tuple[Consumer, list[Envelope]]:
    """Return a worker whose queue has *count* dead letters, the oldest first."""
    sent = envelopes(count)
    await (await bench.sender(context)).send(sent)
    consumer = await bench.consumer(context=context)
    held = await consumer.take(count)
    for number, delivery in enumerate(held):
        assert list(await consumer.settle(outcome(delivery, Dead(f"why {number}")))) == [None]
    return consumer, envelopes_of(held)


@requires(Inspectable)
class InspectableSuite(Suite):
    """Every Inspectable broker passes it."""

    component = "broker"

    async def test_peeking_removes_nothing(self, bench: Bench) -> None:
        """Waiting messages are shown as they were sent, with a cursor each, and stay."""
        sent = envelopes(3)
        await (await bench.sender()).send([*sent, envelope("other")])
        consumer = await bench.consumer()
        broker: Any = consumer.broker

        shown = [item async for item in broker.peek("default")]

        assert sorted((item.uuid, item) for _, item, _ in shown) == sorted((item.uuid, item) for item in sent)
        assert len({cursor for cursor, _, _ in shown}) == 3
        assert sorted_uuids(await consumer.drain()) == sorted_uuids(sent)

    async def test_a_cursor_is_a_place_to_go_on_from(self, bench: Bench) -> None:
        """A page ends anywhere, the next begins after it: each message once."""
        await (await bench.sender()).send(envelopes(5))
        broker: Any = await bench.broker()
        shown = [item async for item in broker.peek("default")]

        rests = [[item async for item in broker.peek("default", after=cursor)] for cursor, _, _ in shown]

        assert rests == [shown[number + 1 :] for number in range(5)]

    async def test_many_are_shown(self, bench: Bench) -> None:
        """More than one page of the server's."""
        await (await bench.sender()).send(envelopes(1200))
        broker: Any = await bench.broker()

        assert len({item.uuid async for _, item, _ in broker.peek("default")}) == 1200

    async def test_dead_letters_are_shown_with_their_reason(self, bench: Bench) -> None:
        """And only where they are asked for."""
        consumer, buried = await _bury(bench, 3)
        broker: Any = consumer.broker

        shown = {item.uuid: reason async for _, item, reason in broker.peek("default", dead=True)}

        assert shown == {item.uuid: f"why {number}" for number, item in enumerate(buried)}
        assert [item async for item in broker.peek("default")] == []
        assert [item async for item in broker.peek("other", dead=True)] == []

    async def test_no_more_dead_letters_are_kept_than_the_setting_says(self, bench: Bench) -> None:
        """The oldest go, at once or soon, and each queue has its own bound (`dead_letter_max`)."""
        context = KitContext(config=msgspec.structs.replace(KIT_CONFIG, dead_letter_max=3))
        consumer, buried = await _bury(bench, 7, context)
        broker: Any = consumer.broker

        async def shown() -> list[Envelope]:
            return [item async for _, item, _ in broker.peek("default", dead=True)]

        async def is_bounded() -> bool:
            return len(await shown()) <= 3

        await eventually(is_bounded, bench.patience_s, "the oldest dead letters are dropped")
        assert await shown() == buried[-3:]
        await broker.clear()

    async def test_dead_letters_are_sent_again_as_they_are_rewritten(self, bench: Bench) -> None:
        """The same uuid, one replay more, crashes forgotten, each once; the dead letter is gone."""
        consumer, buried = await _bury(bench, 2)
        broker: Any = consumer.broker

        assert await broker.replay("default", _anew) == 2

        again = [*await consumer.take(2), *await consumer.drain()]
        assert sorted(uuids_of(again)) == sorted_uuids(buried)
        expected = {item.uuid: _anew(item) for item in buried}
        assert {item.uuid: item for item in envelopes_of(again)} == expected
        assert [(item.crashes, item.suspect) for item in again] == [(0, False)] * 2
        assert [item async for item in broker.peek("default", dead=True)] == []

    async def test_chosen_dead_letters_are_sent_again(self, bench: Bench) -> None:
        """By their cursors; one that is not there is no error, and counts for nothing."""
        consumer, _ = await _bury(bench, 3)
        broker: Any = consumer.broker
        shown = [item async for item in broker.peek("default", dead=True)]
        chosen = [shown[0][0], shown[2][0]]

        assert await broker.replay("default", _anew, chosen) == 2
        assert await broker.replay("default", _anew, chosen) == 0

        assert sorted(uuids_of(await consumer.drain())) == sorted([shown[0][1].uuid, shown[2][1].uuid])
        assert [item.uuid async for _, item, _ in broker.peek("default", dead=True)] == [shown[1][1].uuid]

    async def test_purging_deletes_what_waits(self, bench: Bench) -> None:
        """Of one queue; what runs is finished, what is dead stays."""
        sender = await bench.sender()
        consumer, _ = await _bury(bench, 1)
        broker: Any = consumer.broker
        await sender.send([*envelopes(3), envelope("other")])
        held = await consumer.take_one()

        assert await broker.purge("default") == 2

        assert await consumer.drain() == []
        await consumer.ack(held)
        await assert_depth(broker, Depth(0, 0, 0, 1))
        await assert_depth(broker, Depth(1, 0, 0, 0), "other")

    async def test_purging_takes_cursors_and_dead_letters(self, bench: Bench) -> None:
        """Some, then all."""
        consumer, _ = await _bury(bench, 3)
        broker: Any = consumer.broker
        shown = [item async for item in broker.peek("default", dead=True)]

        assert await broker.purge("default", dead=True, cursors=[shown[1][0]]) == 1
        assert [item.uuid async for _, item, _ in broker.peek("default", dead=True)] == [
            shown[0][1].uuid,
            shown[2][1].uuid,
        ]
        assert await broker.purge("default", dead=True) == 2
        await assert_depth(broker, Depth(0, 0, 0, 0))
