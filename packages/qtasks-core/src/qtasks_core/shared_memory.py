"""The global config as the core uses it: each call with the triggers around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from qtasks_core.contract import Capability

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from qtasks_core.contract import GlobalConfig, Versioned
    from qtasks_core.triggers import Triggers
    from qtasks_core.worker.announcer import Announcement

__all__ = ["SharedMemory"]


class SharedMemory:
    """Reads and writes a global config, as plugins want it (contract.GlobalConfig).

    Parameters:
        global_config: The component.
        triggers: The app's triggers.
    """

    qtasks_api: ClassVar[int] = 1
    capabilities: ClassVar[Capability] = Capability(0)

    def __init__(self, global_config: GlobalConfig, triggers: Triggers) -> None:
        self.component = global_config
        """What plugins are told is the global config."""
        self.capabilities = global_config.capabilities  # type: ignore[misc]  # those of the component
        self._triggers = triggers

    async def start(self) -> None:
        """Start the component."""
        await self.component.start()

    async def stop(self) -> None:
        """Stop the component."""
        await self.component.stop()

    async def clear(self) -> None:
        """Delete everything of the app."""
        await self.component.clear()

    async def get(self, key: str) -> Versioned:
        """Read a value."""
        found = await self.component.get(key)
        if chain := self._triggers.of("global_config_get"):
            given = {"global_config": self.component, "key": key, "value": found.value}
            return found._replace(value=await self._triggers.replace(chain, "value", **given))
        return found

    async def list(self, prefix: str) -> Mapping[str, Versioned]:
        """Read the values whose keys begin alike; with an empty prefix all of them."""
        found = await self.component.list(prefix)
        name = "global_config_get_match" if prefix else "global_config_get_all"
        if chain := self._triggers.of(name):
            given = {"global_config": self.component, "values": found}
            changed: Mapping[str, Versioned] = await self._triggers.replace(chain, "values", **given)
            return changed
        return found

    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None:
        """Write a value; None deletes it."""
        key, value = await self._set(key, value)
        await self.component.put(key, value, ttl_s)

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write if the revision still holds; return the new one, None on conflict."""
        key, value = await self._set(key, value)
        return await self.component.cas(key, value, revision, ttl_s)

    def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """Yield what is there, then changes."""
        return self.component.watch(prefix)

    async def announce(self, key: str, status: Announcement, value: bytes, ttl_s: float) -> None:
        """Write what a worker says of itself."""
        if chain := self._triggers.of("global_config_set_status"):
            await self._triggers.notify(chain, global_config=self.component, status=status)
        await self.put(key, value, ttl_s)

    async def _set(self, key: str, value: bytes | None) -> tuple[str, bytes | None]:
        if not (chain := self._triggers.of("global_config_set")):
            return key, value
        given: dict[str, Any] = {"global_config": self.component, "key": key, "value": value}
        return await self._triggers.replace_pair(chain, ("key", "value"), **given)
