"""Sending: what is answered, and what is there then, seen through the back door."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.errors import AlreadyExists, RefusedError
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.life import LifeTests
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import envelope, envelopes, sorted_uuids
from qtasks_testing.kit.subject import Trait

if TYPE_CHECKING:
    from qtasks_testing.kit.bench import Bench

__all__ = ["SenderSuite"]


class SenderSuite(LifeTests):
    """Every Sender passes it."""

    component = "sender"

    async def test_limits_are_known_after_start(self, bench: Bench) -> None:
        """The engine cuts its batches by them."""
        limits = (await bench.sender()).limits

        assert limits.batch >= 1
        assert limits.message_bytes >= 1024

    async def test_an_empty_batch_is_answered_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input, also when that is nothing."""
        assert list(await (await bench.sender()).send([])) == []

    @requires(Trait.BACK_DOOR)
    async def test_what_was_sent_is_there_when_send_returns(self, bench: Bench) -> None:
        """None for an item means that it is safe, not that it will be."""
        sent = envelopes(5)

        assert list(await (await bench.sender()).send(sent)) == [None] * 5
        assert sorted(await bench.waiting()) == sorted_uuids(sent)

    @requires(Trait.BACK_DOOR)
    async def test_items_of_one_batch_may_go_to_different_queues_and_times(self, bench: Bench) -> None:
        """A group commit mixes what its callers add."""
        sent = [envelope("a"), envelope("b"), envelope("a", delay_s=60.0), envelope("b", priority=-128)]

        assert list(await (await bench.sender()).send(sent)) == [None] * 4
        assert sorted(await bench.waiting()) == sorted_uuids(sent)

    @requires(Trait.BACK_DOOR)
    async def test_a_full_batch_is_sent_whole(self, bench: Bench) -> None:
        """As many as the limits allow, in one call."""
        sender = await bench.sender()
        sent = envelopes(min(sender.limits.batch, 2000))

        assert list(await sender.send(sent)) == [None] * len(sent)
        assert sorted(await bench.waiting()) == sorted_uuids(sent)

    @pytest.mark.parametrize("place", [0, 2, 4])
    @requires(Trait.BACK_DOOR)
    async def test_an_item_that_is_too_large_is_refused_alone(self, bench: Bench, place: int) -> None:
        """One bad item never fails its batch mates."""
        sender = await bench.sender()
        sent = envelopes(4)
        too_large = envelope(body=bytes(sender.limits.message_bytes + 1))

        answers = await sender.send([*sent[:place], too_large, *sent[place:]])

        assert [isinstance(answer, RefusedError) for answer in answers] == [index == place for index in range(5)]
        assert [answer for index, answer in enumerate(answers) if index != place] == [None] * 4
        assert sorted(await bench.waiting()) == sorted_uuids(sent)

    @requires(Trait.BACK_DOOR, Trait.IDENTITY)
    async def test_a_uuid_that_is_there_is_not_sent_again(self, bench: Bench) -> None:
        """A send whose answer was lost is repeated safely; its batch mates are sent."""
        sender = await bench.sender()
        first, second = envelopes(2)
        await sender.send([first])

        again, new = await sender.send([first, second])

        assert isinstance(again, AlreadyExists)
        assert again.uuid == first.uuid
        assert new is None
        assert sorted(await bench.waiting()) == sorted_uuids([first, second])

    @requires(Trait.BACK_DOOR, Trait.IDENTITY)
    async def test_a_uuid_twice_in_one_batch_is_sent_once(self, bench: Bench) -> None:
        """Two callers with one uuid may meet in a group commit."""
        sent = envelope()

        answers = await (await bench.sender()).send([sent, sent])

        assert answers[0] is None
        assert isinstance(answers[1], AlreadyExists)
        assert list(await bench.waiting()) == [sent.uuid]

    @requires(Trait.BACK_DOOR, Trait.IDENTITY)
    async def test_a_delayed_message_is_there_already_too(self, bench: Bench) -> None:
        """Identity does not depend on when a message is due."""
        sender = await bench.sender()
        sent = envelope(delay_s=60.0)
        await sender.send([sent])

        answers = await sender.send([sent])

        assert isinstance(answers[0], AlreadyExists)
        assert list(await bench.waiting()) == [sent.uuid]

    @requires(Trait.BACK_DOOR, Trait.IDENTITY)
    async def test_a_cancelled_send_can_be_repeated(self, bench: Bench) -> None:
        """It was done or not, never half: what is sent again is there once."""
        sender = await bench.sender()
        sent = envelopes(60)
        for turns, item in enumerate(sent):
            sending = asyncio.ensure_future(sender.send([item]))
            for _ in range(turns % 6):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

        answers = await sender.send(sent)

        assert all(answer is None or isinstance(answer, AlreadyExists) for answer in answers)
        assert sorted(await bench.waiting()) == sorted_uuids(sent)

    @requires(Trait.BACK_DOOR)
    async def test_many_may_send_at_once(self, bench: Bench) -> None:
        """Two senders, many calls in flight: each message is there once."""
        senders = [await bench.sender(), await bench.sender()]
        sent = [envelopes(3) for _ in range(40)]

        answers = await asyncio.gather(*(senders[n % 2].send(batch) for n, batch in enumerate(sent)))

        assert [list(answer) for answer in answers] == [[None] * 3] * 40
        assert sorted(await bench.waiting()) == sorted_uuids(item for batch in sent for item in batch)

    @requires(Trait.BACK_DOOR)
    async def test_apps_do_not_see_each_other(self, bench: Bench) -> None:
        """A uuid, a queue and a clear() belong to one namespace."""
        stranger = await bench.sender(KitContext())
        sent = envelope()
        await (await bench.sender()).send([sent])

        assert list(await stranger.send([sent])) == [None]
        await stranger.clear()

        assert list(await bench.waiting()) == [sent.uuid]

    @requires(Trait.BACK_DOOR)
    async def test_clear_deletes_everything(self, bench: Bench) -> None:
        """Ready and delayed, in every queue; the uuids can be used again."""
        sender = await bench.sender()
        sent = [envelope("a"), envelope("b", delay_s=60.0)]
        await sender.send(sent)

        await sender.clear()

        assert list(await bench.waiting()) == []
        assert list(await sender.send(sent)) == [None, None]

    @requires(Trait.BACK_DOOR)
    async def test_messages_outlive_a_stop(self, bench: Bench) -> None:
        """Stopping a component, and starting it again, loses nothing."""
        sender = await bench.sender()
        sent = envelope()
        await sender.send([sent])

        await sender.stop()
        await sender.start()

        assert list(await bench.waiting()) == [sent.uuid]
