"""What an app is and does now, for operators: its parts, tasks, workers and queues, as text or JSON, in both faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qtasks_core.app import App, AppFace
    from qtasks_core.definition import TaskDefinition

__all__ = ["AsyncInspection", "AsyncStats", "SyncInspection", "SyncStats"]


class _Stats:
    """Inspections of an app.

    Parameters:
        app: The app, of either face.
    """

    def __init__(self, app: AppFace) -> None:
        self.app = app


class AsyncStats(_Stats):
    """Inspections of an app that are awaited.

    Parameters:
        app: The app, of either face.
    """

    def inspect(self) -> AsyncInspection:
        """Return what can be looked at; plugins are told of each look (`stats_inspect`)."""
        return AsyncInspection(self.app.core, self)


class SyncStats(_Stats):
    """The same, blocking.

    Parameters:
        app: The app, of either face.
    """

    def inspect(self) -> SyncInspection:
        """Return what can be looked at; see `AsyncStats.inspect`."""
        return SyncInspection(self.app.core, self)


class AsyncInspection:
    """What can be looked at; each answer is text to read, or JSON.

    Parameters:
        core: The app.
        stats: What plugins are told is the statistics.
    """

    def __init__(self, core: App, stats: _Stats) -> None:
        self._core = core
        self._stats = stats

    async def app(self, *, json: bool = False) -> str:
        """Tell what the app is: its name, its components, how many tasks and which queues it has."""
        await self._begin()
        core = self._core
        found = {"name": core.name, **core.describe(), "tasks": len(core.tasks), "queues": self._queues()}
        return _shown([found], found, json=json)

    async def tasks(self, *names: str, json: bool = False) -> str:
        """Tell what the tasks are that this process knows: all, or those of these names.

        Raises:
            ConfigError: One is not known here.
        """
        await self._begin()
        chosen = [self._task(name) for name in names or sorted(self._core.tasks)]
        return _shown(chosen, chosen, json=json)

    async def task(self, name: str, *, json: bool = False) -> str:
        """Tell what one task is.

        Raises:
            ConfigError: It is not known here.
        """
        await self._begin()
        found = self._task(name)
        return _shown([found], found, json=json)

    async def workers(self, *, timeout: float = 2.0, json: bool = False) -> str:
        """Tell which workers answer, or are announced and do not.

        Parameters:
            timeout: Seconds to wait for them.
            json: Whether the answer is JSON.

        Raises:
            ConfigError: There is no global config, so workers cannot be reached.
        """
        await self._begin()
        found = [msgspec.to_builtins(one) for one in await self._core.aio.ping(timeout)]
        return _shown(found, found, json=json)

    async def queues(self, *, json: bool = False) -> str:
        """Tell how many tasks wait, are held back, run and are dead in each queue of the app."""
        await self._begin()
        engine = self._core.engine()
        await engine.ensure_started()
        found = [{"name": name, **(await engine.broker.depth(name))._asdict()} for name in self._queues()]
        return _shown(found, found, json=json)

    async def _begin(self) -> None:
        triggers = self._core.triggers
        if chain := triggers.of("stats_inspect"):
            await triggers.notify(chain, stats=self._stats)

    def _task(self, name: str) -> dict[str, Any]:
        definition = self._core.registry.get(name)
        if definition is None:
            raise ConfigError(f"no task {name!r} here; known: {', '.join(sorted(self._core.tasks)) or 'none'}")
        return _described(definition, self._core.config.queues[0])

    def _queues(self) -> list[str]:
        of_tasks = {one.queue for one in self._core.registry if one.queue is not None}
        return sorted({*self._core.config.queues, *of_tasks})


class SyncInspection:
    """The same, blocking; each does what its twin in `AsyncInspection` does.

    Parameters:
        core: The app.
        stats: What plugins are told is the statistics.
    """

    def __init__(self, core: App, stats: SyncStats) -> None:
        self._core = core
        self._twin = AsyncInspection(core, stats)

    def app(self, *, json: bool = False) -> str:
        """Tell what the app is."""
        return self._ask("app", json=json)

    def tasks(self, *names: str, json: bool = False) -> str:
        """Tell what the tasks are that this process knows."""
        return self._ask("tasks", *names, json=json)

    def task(self, name: str, *, json: bool = False) -> str:
        """Tell what one task is."""
        return self._ask("task", name, json=json)

    def workers(self, *, timeout: float = 2.0, json: bool = False) -> str:
        """Tell which workers answer, or are announced and do not."""
        return self._ask("workers", timeout=timeout, json=json)

    def queues(self, *, json: bool = False) -> str:
        """Tell how many tasks wait, are held back, run and are dead in each queue."""
        return self._ask("queues", json=json)

    def _ask(self, what: str, *args: str, **options: Any) -> str:
        async def ask() -> str:
            answer: str = await getattr(self._twin, what)(*args, **options)
            return answer

        return self._core.portal.call(ask, hint=f"AsyncStats(app).inspect().{what}(…)")


def _described(definition: TaskDefinition, default_queue: str) -> dict[str, Any]:
    options = definition.options
    return {
        "name": definition.name,
        "queue": definition.queue or default_queue,
        "priority": definition.priority,
        "kind": definition.kind,
        "retry": options["retry"],
        "timeout": options["timeout"],
        "tags": list(options["tags"]),
        "description": definition.description,
    }


def _shown(parts: Iterable[Mapping[str, Any]], found: object, *, json: bool) -> str:
    """Return JSON, or each part as lines of a name and a value, with an empty line between two parts."""
    if json:
        return msgspec.json.encode(found).decode()
    return "\n\n".join("\n".join(f"{name}: {_word(value)}" for name, value in part.items()) for part in parts)


def _word(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
