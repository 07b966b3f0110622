"""Watching: first what is there, then what changes, and nothing in between is missed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from qtasks_testing.kit.leftovers import leftovers, read_and_leave
from qtasks_testing.kit.requirements import requires
from qtasks_testing.kit.subject import Trait
from qtasks_testing.kit.suite import Suite
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType
    from typing import Self

    from qtasks_core.contract import GlobalConfig, Versioned
    from qtasks_testing.kit.bench import Bench

__all__ = ["WatchTests"]


class Watcher:
    """Collects what a watch yields; an async context manager."""

    def __init__(self, config: GlobalConfig, prefix: str, patience_s: float) -> None:
        self.seen: list[tuple[str, Versioned]] = []
        self._changes = cast("AsyncGenerator[tuple[str, Versioned], None]", config.watch(prefix))
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._collect())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        results = await asyncio.gather(self._task, return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        assert not failures

    async def _collect(self) -> None:
        async with aclosing(self._changes) as changes:
            async for change in changes:
                self.seen.append(change)

    @property
    def state(self) -> dict[str, Versioned]:
        """What the watcher knows now: the last that it saw of each key that is there."""
        return {key: found for key, found in dict(self.seen).items() if found.value is not None}

    @property
    def values(self) -> dict[str, Any]:
        """The same without revisions."""
        return {key: found.value for key, found in self.state.items()}

    async def until(self, values: dict[str, bytes]) -> None:
        """Wait until the watcher knows these values and no others."""
        await eventually(lambda: self.values == values, self._patience_s, f"the watcher knows {values}, not {self}")

    def __repr__(self) -> str:
        return repr(self.values)


class WatchTests(Suite):
    """Tests of watch()."""

    component = "global_config"

    async def test_a_watcher_sees_what_is_there_then_what_changes(self, bench: Bench) -> None:
        """Written by the same object or another, changed, deleted and made anew."""
        config, other = await bench.global_config(), await bench.global_config()
        await config.put("w/1", b"a")
        async with Watcher(config, "w/", bench.patience_s) as watcher:
            await watcher.until({"w/1": b"a"})
            await other.put("w/2", b"b")
            await watcher.until({"w/1": b"a", "w/2": b"b"})
            await config.put("w/1", None)
            await watcher.until({"w/2": b"b"})
            await other.put("w/1", b"c")
            await watcher.until({"w/1": b"c", "w/2": b"b"})

    async def test_a_deletion_is_seen_as_absent(self, bench: Bench) -> None:
        """Value None."""
        config = await bench.global_config()
        await config.put("k", b"a")
        async with Watcher(config, "", bench.patience_s) as watcher:
            await watcher.until({"k": b"a"})
            await config.put("k", None)
            await watcher.until({})

        key, found = watcher.seen[-1]
        assert (key, found.value) == ("k", None)

    @requires(Trait.CLOCK)
    async def test_what_expires_is_seen_as_absent(self, bench: Bench) -> None:
        """A dead worker's entry goes for those that watch, too; what lives longer stays."""
        config = await bench.global_config()
        await config.put("w/dead", b"1", ttl_s=3600.0)
        await config.put("w/alive", b"1", ttl_s=7200.0)
        async with Watcher(config, "w/", bench.patience_s) as watcher:
            await watcher.until({"w/dead": b"1", "w/alive": b"1"})
            await bench.pass_time(3601.0)
            await watcher.until({"w/alive": b"1"})

    async def test_a_watcher_sees_the_revisions_of_get(self, bench: Bench) -> None:
        """What was seen can be compared and set."""
        config = await bench.global_config()
        await config.put("k", b"a")
        async with Watcher(config, "k", bench.patience_s) as watcher:
            await watcher.until({"k": b"a"})
            await config.put("k", b"b")
            await watcher.until({"k": b"b"})

        assert watcher.state == {"k": await config.get("k")}

    async def test_only_its_own_prefix_is_seen(self, bench: Bench) -> None:
        """A prefix is plain text."""
        config = await bench.global_config()
        async with Watcher(config, "a_", bench.patience_s) as watcher:
            for key in ("ab", "b", "A_", "a_1"):
                await config.put(key, b"1")
            await watcher.until({"a_1": b"1"})

        assert {key for key, _ in watcher.seen} == {"a_1"}

    async def test_many_watchers_see_the_same(self, bench: Bench) -> None:
        """One that goes does not disturb the others."""
        config = await bench.global_config()
        async with Watcher(config, "", bench.patience_s) as first, Watcher(config, "", bench.patience_s) as second:
            async with Watcher(config, "", bench.patience_s) as third:
                await config.put("k", b"1")
                await third.until({"k": b"1"})
            await config.put("k", b"2")
            await first.until({"k": b"2"})
            await second.until({"k": b"2"})

    async def test_a_change_from_another_event_loop_is_seen(self, bench: Bench) -> None:
        """A worker's loop and a client's loop in one process."""
        config = await bench.global_config()

        async def put() -> None:
            other = bench.make("global_config")
            await other.start()
            await other.put("k", b"1")
            await other.stop()

        async with Watcher(config, "", bench.patience_s) as watcher:
            await asyncio.sleep(0.02)
            await bench.elsewhere(put)
            await watcher.until({"k": b"1"})

    async def test_what_changes_while_a_watch_begins_is_not_missed(self, bench: Bench) -> None:
        """Between the first look and the subscription there is no gap."""
        config, other = await bench.global_config(), await bench.global_config()
        for number in range(40):
            async with Watcher(config, "", bench.patience_s) as watcher:
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                await other.put("k", b"%d" % number)
                await watcher.until({"k": b"%d" % number})

    async def test_the_last_of_many_changes_is_seen(self, bench: Bench) -> None:
        """Those before it may be left out; none comes after it, and none is seen out of order."""
        config = await bench.global_config()
        async with Watcher(config, "", bench.patience_s) as watcher:
            for number in range(200):
                await config.put("k", b"%d" % number)
            await watcher.until({"k": b"199"})

        revisions = [found.revision for _, found in watcher.seen]
        assert revisions == sorted(revisions)

    async def test_who_stops_watching_leaves_nothing_behind(self, bench: Bench) -> None:
        """Components come and go, and the app lives on."""
        config = await bench.global_config()
        await config.put("k", b"1")

        assert await leftovers(lambda: read_and_leave(config.watch("k"), 1)) < 1
