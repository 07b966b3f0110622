"""The cluster's small shared memory: values with revisions, a time to live, and watchers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qtasks_core.contract import Capability, Versioned
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.life import LifeTests
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite
from qtasks_testing.kit.watching import WatchTests

if TYPE_CHECKING:
    from qtasks_core.contract import GlobalConfig
    from qtasks_testing.kit.bench import Bench

__all__ = ["GlobalConfigSuite"]

ABSENT = Versioned(None, 0)
HOSTILE_KEYS = ["a%", "a_", "a*", "a?", "a[b]", "it's", "ü/é", "a b", "A", "a/b/c", "a\\"]


class CompareTests(Suite):
    """Tests of compare-and-set."""

    component = "global_config"

    @requires(Capability.CAS)
    async def test_revision_0_creates_what_is_absent(self, bench: Bench) -> None:
        """Of two that try, one does; the answer is the revision that everyone sees."""
        config = await bench.global_config()

        revision = await config.cas("k", b"1", 0)
        again = await config.cas("k", b"2", 0)

        assert revision is not None
        assert again is None
        assert await config.get("k") == Versioned(b"1", revision)

    @requires(Capability.CAS)
    async def test_a_revision_that_holds_is_replaced_once(self, bench: Bench) -> None:
        """The stale one conflicts: None, and nothing is changed."""
        config = await bench.global_config()
        await config.put("k", b"1")
        before = (await config.get("k")).revision

        after = await config.cas("k", b"2", before)
        stale = await config.cas("k", b"3", before)

        assert after is not None
        assert after > before
        assert stale is None
        assert await config.get("k") == Versioned(b"2", after)

    @requires(Capability.CAS)
    async def test_deleting_is_a_change_like_any_other(self, bench: Bench) -> None:
        """With the revision that holds, and not without."""
        config = await bench.global_config()
        revision = await config.cas("k", b"1", 0)
        assert revision is not None

        assert await config.cas("k", None, revision + 1) is None
        assert await config.get("k") == Versioned(b"1", revision)
        assert await config.cas("k", None, revision) is not None
        assert await config.get("k") == ABSENT

    @requires(Capability.CAS)
    async def test_a_key_that_was_deleted_and_made_anew_has_no_old_revision(self, bench: Bench) -> None:
        """Who slept meanwhile cannot take the new value for the one that it knew."""
        config = await bench.global_config()
        old = await config.cas("k", b"1", 0)
        assert old is not None
        await config.put("k", None)
        await config.put("k", b"1")

        assert (await config.get("k")).revision != old
        assert await config.cas("k", b"2", old) is None

    @requires(Capability.CAS)
    async def test_nobody_loses_an_update(self, bench: Bench) -> None:
        """Four count to ten each, on two objects: forty."""
        configs = [await bench.global_config(), await bench.global_config()]

        async def count(config: GlobalConfig) -> None:
            done = 0
            while done < 10:
                value, revision = await config.get("n")
                done += await config.cas("n", b"%d" % (int(value or b"0") + 1), revision) is not None

        await asyncio.gather(*(count(configs[n % 2]) for n in range(4)))

        assert (await configs[0].get("n")).value == b"40"

    @requires(Capability.CAS, Trait.CLOCK)
    async def test_an_expired_key_is_absent_for_a_comparison(self, bench: Bench) -> None:
        """A lock whose holder died is free; the holder's revision is worth nothing."""
        config = await bench.global_config()
        old = await config.cas("lock", b"dead", 0, ttl_s=10.0)
        assert old is not None
        await bench.pass_time(11.0)

        assert await config.cas("lock", b"dead", old, ttl_s=10.0) is None
        assert await config.cas("lock", b"new", 0, ttl_s=10.0) is not None
        assert (await config.get("lock")).value == b"new"


class GlobalConfigSuite(LifeTests, CompareTests, WatchTests):
    """Every GlobalConfig passes it."""

    component = "global_config"

    async def test_a_value_is_read_back_with_a_revision(self, bench: Bench) -> None:
        """By another object as well; absent is None at revision 0; empty is not absent."""
        config, other = await bench.global_config(), await bench.global_config()

        assert await config.get("k") == ABSENT
        for value in (b"", bytes(range(256)), b"x" * 10_000):
            await config.put("k", value)
            got = await other.get("k")
            assert got.value == value
            assert got.revision > 0

    async def test_each_write_has_a_higher_revision(self, bench: Bench) -> None:
        """Also when the value is the same."""
        config = await bench.global_config()
        revisions = []
        for _ in range(5):
            await config.put("k", b"same")
            revisions.append((await config.get("k")).revision)

        assert revisions == sorted(set(revisions))

    async def test_none_deletes(self, bench: Bench) -> None:
        """Deleted is as absent as never written; what is absent can be deleted."""
        config = await bench.global_config()
        await config.put("k", b"1")

        for _ in range(2):
            await config.put("k", None)
            assert await config.get("k") == ABSENT
        assert dict(await config.list("")) == {}

    @pytest.mark.parametrize("key", HOSTILE_KEYS)
    async def test_keys_and_prefixes_are_plain_text(self, bench: Bench, key: str) -> None:
        """No pattern, no path, upper case is not lower case."""
        config = await bench.global_config()
        for name in (key, key + "1", "a1", "b", "aXb", "AB"):
            await config.put(name, name.encode())

        got = await config.list(key)

        expected = {name for name in (key, key + "1", "a1", "b", "aXb", "AB") if name.startswith(key)}
        assert {name: found.value for name, found in got.items()} == {name: name.encode() for name in expected}
        assert (await config.get(key)).value == key.encode()

    async def test_list_has_the_revisions_of_get(self, bench: Bench) -> None:
        """What is listed can be compared and set."""
        config = await bench.global_config()
        await config.put("a/1", b"1")
        await config.put("a/2", b"2")
        await config.put("b", b"3")

        got = await config.list("a/")

        assert dict(got) == {"a/1": await config.get("a/1"), "a/2": await config.get("a/2")}

    async def test_a_value_expires(self, bench: Bench) -> None:
        """A dead worker's entry is gone by itself, and is listed no more."""
        config = await bench.global_config()
        await config.put("w/dead", b"1", ttl_s=1.0)
        await config.put("w/alive", b"1", ttl_s=60.0)
        await config.put("w/for-ever", b"1")
        assert (await config.get("w/dead")).value == b"1"

        await bench.pass_time(1.1)

        assert await config.get("w/dead") == ABSENT
        assert set(await config.list("w/")) == {"w/alive", "w/for-ever"}

    @requires(Trait.CLOCK)
    async def test_a_new_write_has_a_time_of_its_own(self, bench: Bench) -> None:
        """Renewed it lives longer, written without a limit it stays."""
        config = await bench.global_config()
        for key in ("renewed", "kept"):
            await config.put(key, b"1", ttl_s=60.0)
        await bench.pass_time(50.0)
        await config.put("renewed", b"1", ttl_s=60.0)
        await config.put("kept", b"1")
        await bench.pass_time(50.0)

        assert set(await config.list("")) == {"renewed", "kept"}
        await bench.pass_time(50.0)
        assert set(await config.list("")) == {"kept"}

    async def test_apps_do_not_see_each_other(self, bench: Bench) -> None:
        """Keys, prefixes and clear() belong to one namespace."""
        config, stranger = await bench.global_config(), await bench.global_config(KitContext())
        longer = await bench.global_config(KitContext(bench.context.namespace + "-2"))
        await config.put("k", b"1")

        for other in (stranger, longer):
            assert await other.get("k") == ABSENT
            assert dict(await other.list("")) == {}
            await other.put("k", b"2")
            await other.clear()
            assert await other.get("k") == ABSENT

        assert (await config.get("k")).value == b"1"

    async def test_clear_deletes_everything(self, bench: Bench) -> None:
        """Of this namespace."""
        config = await bench.global_config()
        await config.put("a", b"1")
        await config.put("b", b"1", ttl_s=60.0)

        await config.clear()

        assert dict(await config.list("")) == {}

    async def test_values_outlive_a_stop(self, bench: Bench) -> None:
        """Stopped and started again, it knows what it knew."""
        config = await bench.global_config()
        await config.put("k", b"1")
        before = await config.get("k")
        await config.stop()
        await config.start()

        assert await config.get("k") == before

    @requires(Trait.DURABLE)
    async def test_values_outlive_the_process(self, bench: Bench) -> None:
        """With their revisions, which go on from there."""
        config = await bench.global_config()
        await config.put("k", b"1")
        before = await config.get("k")
        await config.stop()

        later = await bench.global_config(bench.context.restarted())

        assert await later.get("k") == before
        await later.put("k", b"2")
        assert (await later.get("k")).revision > before.revision
