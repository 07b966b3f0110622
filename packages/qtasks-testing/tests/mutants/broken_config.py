"""Global configs that are wrong about values, revisions, times and changes."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from mutant import caught_by

from qtasks_core.memory import MemoryGlobalConfig, MemoryServer
from qtasks_core.memory.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from qtasks_core.contract import Versioned
    from qtasks_core.memory.keys import Watcher


@caught_by(
    "GlobalConfigSuite::test_revision_0_creates_what_is_absent",
    "GlobalConfigSuite::test_a_revision_that_holds_is_replaced_once",
)
class ComparesNothing(MemoryGlobalConfig):
    """cas() always writes."""

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        await self.put(key, value, ttl_s)
        return (await self.get(key)).revision


@caught_by("GlobalConfigSuite::test_a_key_that_was_deleted_and_made_anew_has_no_old_revision")
class CountsEachKeyFromOne(Keys):
    """A key that was deleted and made anew has the revisions that it had before."""

    def put(self, key: str, value: bytes | None, ttl_s: float | None, now: float) -> int:
        self._revisions = iter([self.get(key).revision + 1])  # type: ignore[assignment]  # that is what is broken
        return super().put(key, value, ttl_s, now)


@caught_by("GlobalConfigSuite::test_a_value_expires")
class KeepsKeysForEver(MemoryGlobalConfig):
    """A key does not expire."""

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        await super().put(key, value)


@caught_by("GlobalConfigSuite::test_a_new_write_has_a_time_of_its_own")
class ExpiresByTheFirstWrite(Keys):
    """A key that was written anew expires when the value before would have."""

    def sweep(self, now: float) -> None:
        while self._expiring and self._expiring[0][0] <= now:
            _, _, key = self._expiring.pop(0)
            self.put(key, None, None, now)


@caught_by("GlobalConfigSuite::test_keys_and_prefixes_are_plain_text")
class TakesPrefixesForPatterns(MemoryGlobalConfig):
    """A prefix is matched as a pattern."""

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        return {key: value for key, value in (await super().list("")).items() if fnmatchcase(key, prefix + "*")}


@caught_by(
    "GlobalConfigSuite::test_apps_do_not_see_each_other", "OperationsSuite::test_workers_of_other_apps_do_not_answer"
)
class OneConfigForAllApps(MemoryGlobalConfig):
    """The keys of all apps are in one place."""

    servers: ClassVar[dict[str, MemoryServer]] = {}

    def __init__(self, url: str, context: Any) -> None:
        super().__init__(url, context)
        self.server = self.servers.setdefault(url, self.server)


# ---------------------------------------------------------------- watching


@caught_by(
    "GlobalConfigSuite::test_a_watcher_sees_what_is_there_then_what_changes",
    "CancelSuite::test_it_arrives_in_a_running_async_task",
)
class WatchesOnce(MemoryGlobalConfig):
    """watch() sees no change."""

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        for item in (await self.list(prefix)).items():
            yield item
        await asyncio.Event().wait()


@caught_by("GlobalConfigSuite::test_a_watcher_sees_what_is_there_then_what_changes")
class WatchesFromNowOn(MemoryGlobalConfig):
    """watch() leaves out what is there."""

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        there = await self.list(prefix)
        async for key, found in super().watch(prefix):
            if there.get(key) != found:
                yield key, found


@caught_by("GlobalConfigSuite::test_a_deletion_is_seen_as_absent")
class MissesDeletions(MemoryGlobalConfig):
    """watch() does not tell that a key is gone."""

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        async for key, found in super().watch(prefix):
            if found.value is not None:
                yield key, found


@caught_by("GlobalConfigSuite::test_what_expires_is_seen_as_absent")
class MissesWhatExpires(Keys):
    """watch() does not tell that the time of a key is over."""

    def sweep(self, now: float) -> None:
        watchers, self._watchers = self._watchers, {}
        super().sweep(now)
        self._watchers = watchers


@caught_by("GlobalConfigSuite::test_only_its_own_prefix_is_seen")
class WatchesEverything(MemoryGlobalConfig):
    """watch() tells of keys that begin otherwise."""

    async def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        async for item in super().watch(""):
            yield item


@caught_by("GlobalConfigSuite::test_many_watchers_see_the_same")
class OneWatcherIsTold(Keys):
    """Of several that watch, the first is told."""

    def _tell(self, key: str, value: Versioned) -> None:
        for watcher in list(self._watchers)[:1]:
            if key.startswith(watcher.prefix):
                watcher.note(key, value)


@caught_by("GlobalConfigSuite::test_who_stops_watching_leaves_nothing_behind")
class LeaksAWatcher(Keys):
    """Who stopped watching is told of changes for ever."""

    def unwatch(self, watcher: Watcher) -> None:
        """Go on."""
