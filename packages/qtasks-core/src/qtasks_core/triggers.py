"""Calling triggers: implementations are sorted once, then walked as plain tuples.

A trigger without an implementation is an empty tuple, so a call site pays one truth test for it.
"""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggy import PluginManager

__all__ = ["Implementation", "Replace", "Triggers"]

logger = logging.getLogger("qtasks.triggers")

_LOG_EVERY_S = 1.0


class Replace(NamedTuple):
    """What a replacing trigger returns to set a value that may be None."""

    value: Any


class Implementation(NamedTuple):
    """One plugin's function for one trigger."""

    plugin: str
    trigger: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]
    is_async: bool


class Triggers:
    """The triggers of one app: pluggy keeps and orders them, this class calls them."""

    def __init__(self) -> None:
        self._manager: PluginManager | None = None
        self._chains: dict[str, tuple[Implementation, ...]] = {}
        self._last_logged: dict[tuple[str, str], float] = {}
        self.failures: dict[tuple[str, str], int] = {}

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add the hook implementations of a plugin object (methods marked with `hookimpl`).

        Raises:
            ConfigError: It answers a trigger that does not exist.
        """
        from pluggy import PluginValidationError  # noqa: PLC0415  # pluggy is loaded when the first plugin is there

        manager = self._manager or self._new_manager()
        try:
            manager.register(plugin, name)
            manager.check_pending()
        except PluginValidationError as error:
            manager.unregister(plugin)
            raise ConfigError(f"plugin {name or plugin!r}: {error}") from None
        self._chains.clear()

    def of(self, trigger: str) -> tuple[Implementation, ...]:
        """Return the implementations of a trigger in calling order: tryfirst, last registered first, trylast."""
        if self._manager is None:
            return ()
        chain = self._chains.get(trigger)
        if chain is None:
            caller = getattr(self._manager.hook, trigger)
            chain = tuple(
                Implementation(
                    impl.plugin_name,
                    trigger,
                    impl.function,
                    tuple(impl.argnames),
                    inspect.iscoroutinefunction(impl.function),
                )
                for impl in reversed(caller.get_hookimpls())
            )
            self._chains[trigger] = chain
        return chain

    async def notify(self, chain: tuple[Implementation, ...], /, **values: Any) -> None:
        """Tell every implementation; one that raises is logged, at most once a second, and counted."""
        for impl in chain:
            try:
                await self._call(impl, values)
            except Exception as error:  # noqa: BLE001  # an observer harms nothing
                self._failed(impl, error)

    async def start(self, chain: tuple[Implementation, ...], /, **values: Any) -> None:
        """Tell every implementation of a `*_start` trigger; one that raises stops the start."""
        for impl in chain:
            await self._call(impl, values)

    async def replace(self, chain: tuple[Implementation, ...], key: str, /, **values: Any) -> Any:
        """Hand a value from implementation to implementation and return the last one's.

        Parameters:
            chain: The implementations.
            key: Which of *values* is replaced: an implementation returns None to leave it, `Replace(x)` to set any x.
            values: The trigger's arguments by name.
        """
        for impl in chain:
            answer = await self._call(impl, values)
            if answer is not None:
                values[key] = answer.value if isinstance(answer, Replace) else answer
        return values[key]

    async def _call(self, impl: Implementation, values: dict[str, Any]) -> Any:
        answer = impl.function(**{name: values[name] for name in impl.argnames})
        return await answer if impl.is_async else answer

    def _failed(self, impl: Implementation, error: Exception) -> None:
        key = (impl.plugin, impl.trigger)
        self.failures[key] = self.failures.get(key, 0) + 1
        now = time.monotonic()
        if now - self._last_logged.get(key, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._last_logged[key] = now
            logger.error("plugin %s: trigger %s raised %r", impl.plugin, impl.trigger, error, exc_info=error)

    def _new_manager(self) -> PluginManager:
        from pluggy import PluginManager  # noqa: PLC0415  # as above

        from qtasks_core import hookspecs  # noqa: PLC0415  # as above

        manager = self._manager = PluginManager("qtasks")
        manager.add_hookspecs(hookspecs)
        return manager
