"""The executors of one worker: the app's, and those that tasks ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.errors import ConfigError
from qtasks_core.worker.executor import TaskExecutor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtasks_core.app import App
    from qtasks_core.contract import TaskExecutor as Executor
    from qtasks_core.definition import TaskDefinition

__all__ = ["Executors"]


class Executors:
    """Makes each executor once, and starts and stops all of them.

    Parameters:
        app: The app whose tasks run.
        concurrency: Of the worker; each executor is made for so many.

    Raises:
        ConfigError: What a task, or the app, gave as an executor is none, or refuses a task.
    """

    def __init__(self, app: App, concurrency: int) -> None:
        self._app = app
        self._concurrency = concurrency
        self._made: dict[Any, Executor] = {}
        self.default = self._make(app.task_executor or TaskExecutor, "the app's task_executor")
        self._of = {
            one.name: self._make(one.options["executor"], f"task {one.name!r}: executor") for one in app.registry
        }
        for one in app.registry:
            if adopt := getattr(self._of[one.name], "adopt", None):
                adopt(app, one)
        self._started: list[Executor] = []

    def of(self, definition: TaskDefinition) -> Executor:
        """Return what runs a task."""
        return self._of[definition.name]

    @property
    def abandoned(self) -> int:
        """Threads that still hold tasks whose time was over."""
        return sum(getattr(one, "abandoned", 0) for one in self._all())

    async def start(self) -> None:
        """Start all; when one fails, those that were started are stopped."""
        for one in self._all():
            try:
                await one.start()
            except BaseException:
                await self.stop()
                raise
            self._started.append(one)

    async def stop(self) -> None:
        """Stop what was started, the last first."""
        while self._started:
            await self._started.pop().stop()

    def _all(self) -> Iterable[Executor]:
        return self._made.values()

    def _make(self, wanted: Any, what: str) -> Executor:
        if wanted is None:
            return self.default
        key = wanted if isinstance(wanted, type) else id(wanted)
        found = self._made.get(key)
        if found is None:
            if not all(hasattr(wanted, name) for name in ("start", "stop", "run", "stops")):
                raise ConfigError(f"{what}: expected a TaskExecutor or its class, got {wanted!r}")
            found = wanted(self._concurrency, self._app.triggers) if isinstance(wanted, type) else wanted
            self._made[key] = found
        return found
