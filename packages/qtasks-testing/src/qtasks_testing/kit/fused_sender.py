"""Record and message of a task as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from qtasks_core.contract import Capability, FusedSender, Storage
from qtasks_core.errors import AlreadyExists, RefusedError, ResultExpiredError
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import body, envelope, record, sorted_uuids, uuids_of
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from uuid import UUID

    from qtasks_core.contract import Envelope, TaskRecord
    from qtasks_testing.kit.bench import Bench

__all__ = ["ForeignStorage", "FusedSenderSuite", "tasks"]


class ForeignStorage:
    """A storage of another make: nothing can be fused with it."""

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability(0)
    address: str | None = None


def tasks(count: int, queue: str = "default", **fields: Any) -> list[tuple[TaskRecord, Envelope]]:
    """Return new tasks: the record and the envelope of each."""
    sent = [envelope(queue, **fields) for _ in range(count)]
    return [(record(item), item) for item in sent]


async def statuses(storage: Storage, uuids: list[UUID]) -> list[str | None]:
    """Return the statuses of records; None where there is none."""
    return [None if got is None else got.status for got in await storage.get(uuids)]


@requires(FusedSender)
class FusedSenderSuite(Suite):
    """Every FusedSender passes it."""

    component = "sender"

    async def test_it_fuses_with_the_storage_of_its_server_only(self, bench: Bench) -> None:
        """Another server or another app is another transaction."""
        sender: Any = await bench.sender()

        assert sender.fuses(await bench.storage())
        assert not sender.fuses(await bench.storage(KitContext()))
        assert not sender.fuses(ForeignStorage())

    async def test_an_empty_batch_is_answered_by_nothing(self, bench: Bench) -> None:
        """An answer is as long as its input."""
        sender: Any = await bench.sender()

        assert list(await sender.add_and_send([])) == []

    async def test_both_are_there(self, bench: Bench) -> None:
        """The record for everyone, the message for a worker."""
        sender: Any = await bench.sender()
        storage, consumer = await bench.storage(), await bench.consumer()
        added = tasks(3)

        assert list(await sender.add_and_send(added)) == [None] * 3

        assert await statuses(storage, [item.uuid for _, item in added]) == ["new"] * 3
        assert sorted_uuids(await consumer.take(3)) == sorted_uuids(item for _, item in added)

    async def test_the_record_tells_of_its_task(self, bench: Bench) -> None:
        """Whether it is stored or made of the waiting message."""
        sender: Any = await bench.sender()
        sent = envelope("q", body=body("reports.make"), priority=-3, created_at=1e9)
        added = record(sent, task_name="reports.make", created_at=1e9)
        await sender.add_and_send([(added, sent)])

        (got,) = await (await bench.storage()).get([sent.uuid])

        assert got is not None
        assert (got.task_name, got.queue, got.priority, got.attempt) == ("reports.make", "q", -3, 1)
        assert (got.status, got.created_at, got.body) == ("new", 1e9, sent.body)

    async def test_a_delayed_task_has_a_record_too(self, bench: Bench) -> None:
        """Before it is due."""
        sender: Any = await bench.sender()
        ((added, sent),) = tasks(1, delay_s=60.0)

        await sender.add_and_send([(added, sent)])

        assert await statuses(await bench.storage(), [sent.uuid]) == ["new"]

    @requires(Trait.BACK_DOOR)
    async def test_a_uuid_that_is_there_is_added_once(self, bench: Bench) -> None:
        """AlreadyExists with the item's own uuid; its batch mates are added; in one batch and in two."""
        sender: Any = await bench.sender()
        first, second = tasks(2)
        await sender.add_and_send([first])

        answers = await sender.add_and_send([first, second, second])

        assert [type(answer) for answer in answers] == [AlreadyExists, type(None), AlreadyExists]
        assert [answer.uuid for answer in answers if answer] == [first[1].uuid, second[1].uuid]
        assert sorted(await bench.waiting()) == sorted_uuids([first[1], second[1]])

    async def test_a_task_that_has_ended_is_not_sent_again(self, bench: Bench) -> None:
        """Its uuid is still there, with the result."""
        sender: Any = await bench.sender()
        storage, consumer = await bench.storage(), await bench.consumer()
        ((added, sent),) = tasks(1)
        await storage.finish([record(sent, "success", result=b"\x2a", finished_at=1.0)])

        answers = await sender.add_and_send([(added, sent)])

        assert isinstance(answers[0], AlreadyExists)
        assert await consumer.drain() == []
        assert await statuses(storage, [sent.uuid]) == ["success"]

    @pytest.mark.parametrize("place", [0, 1, 2])
    async def test_what_is_refused_leaves_neither_record_nor_message(self, bench: Bench, place: int) -> None:
        """One bad item never fails its batch mates, and is not there by half."""
        sender: Any = await bench.sender()
        storage, consumer = await bench.storage(), await bench.consumer()
        added = tasks(2)
        ((refused, too_large),) = tasks(1, body=bytes(sender.limits.message_bytes + 1))

        answers = await sender.add_and_send([*added[:place], (refused, too_large), *added[place:]])

        assert [isinstance(answer, RefusedError) for answer in answers] == [index == place for index in range(3)]
        assert [answer for index, answer in enumerate(answers) if index != place] == [None, None]
        assert list(await storage.get([too_large.uuid])) == [None]
        with pytest.raises(ResultExpiredError):
            await storage.wait(too_large.uuid, bench.patience_s)
        assert sorted_uuids(await consumer.drain()) == sorted_uuids(item for _, item in added)

    @requires(Capability.UNIQUE)
    async def test_who_lost_a_unique_key_has_neither_record_nor_message(self, bench: Bench) -> None:
        """The answer tells who holds it; its batch mates are added."""
        sender: Any = await bench.sender()
        storage, consumer = await bench.storage(), await bench.consumer()
        (first, second), (other,) = tasks(2, unique_key="k"), tasks(1)

        answers = await sender.add_and_send([first, second, other])

        assert [type(answer) for answer in answers] == [type(None), AlreadyExists, type(None)]
        assert answers[1].uuid == first[1].uuid
        assert list(await storage.get([second[1].uuid])) == [None]
        assert uuids_of(await consumer.drain()) == [first[1].uuid, other[1].uuid]

    async def test_a_waiting_task_can_be_waited_for(self, bench: Bench) -> None:
        """It is known: the wait ends by its time, not by ResultExpiredError."""
        sender: Any = await bench.sender()
        storage = await bench.storage()
        ((added, sent),) = tasks(1)
        await sender.add_and_send([(added, sent)])

        with pytest.raises(TimeoutError):
            await storage.wait(sent.uuid, 0.02)
