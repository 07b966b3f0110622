"""Unique keys, where a storage enforces them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Capability
from qtasks_core.errors import AlreadyExists
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.samples import final, record
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite

if TYPE_CHECKING:
    from qtasks_testing.kit.bench import Bench

__all__ = ["UniqueTests"]


class UniqueTests(Suite):
    """Tests of unique_key."""

    @requires(Capability.UNIQUE)
    async def test_a_unique_key_is_held_by_one_task(self, bench: Bench) -> None:
        """Who comes second learns the uuid of the first; other keys and no key are free."""
        storage = await bench.storage()
        first = record(unique_key="k")
        await storage.add([first])

        answers = await storage.add([record(unique_key="k"), record(unique_key="other"), record(), record()])

        assert isinstance(answers[0], AlreadyExists)
        assert answers[0].uuid == first.uuid
        assert list(answers[1:]) == [None] * 3

    @requires(Capability.UNIQUE)
    async def test_who_lost_the_key_has_no_record(self, bench: Bench) -> None:
        """Nothing of the second task is there."""
        storage = await bench.storage()
        second = record(unique_key="k")
        await storage.add([record(unique_key="k")])

        await storage.add([second])

        assert list(await storage.get([second.uuid])) == [None]

    @requires(Capability.UNIQUE)
    async def test_of_two_in_one_batch_the_first_holds_it(self, bench: Bench) -> None:
        """A batch is no moment in time."""
        first = record(unique_key="k")

        answers = await (await bench.storage()).add([first, record(unique_key="k")])

        assert answers[0] is None
        assert isinstance(answers[1], AlreadyExists)
        assert answers[1].uuid == first.uuid

    @requires(Capability.UNIQUE)
    async def test_the_end_of_a_task_frees_its_key(self, bench: Bench) -> None:
        """A retry does not."""
        storage = await bench.storage()
        first = record(unique_key="k")
        await storage.add([first])

        await storage.finish([final(first, "retry", finished_at=None, result=None)])
        held = await storage.add([record(unique_key="k")])
        await storage.finish([final(first)])
        free = await storage.add([record(unique_key="k")])

        assert isinstance(held[0], AlreadyExists)
        assert list(free) == [None]

    @requires(Capability.UNIQUE, Trait.CLOCK)
    async def test_its_time_frees_a_key(self, bench: Bench) -> None:
        """unique_ttl is the longest that a key is held; the task itself goes on."""
        storage = await bench.storage()
        first = record(unique_key="k", unique_ttl_s=60.0)
        await storage.add([first])

        await bench.pass_time(59.0)
        held = await storage.add([record(unique_key="k")])
        await bench.pass_time(2.0)
        second = record(unique_key="k")
        free = await storage.add([second])
        await storage.finish([final(first)])
        third = await storage.add([record(unique_key="k")])

        assert isinstance(held[0], AlreadyExists)
        assert list(free) == [None]
        assert isinstance(third[0], AlreadyExists)
        assert third[0].uuid == second.uuid
