"""`app.events`: functions that are told of what happens, by the triggers that plugins answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from qtasks_core.task import TaskSnapshot
from qtasks_core.triggers import checked_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtasks_core.app import App

__all__ = ["Event", "Events", "On"]

F = TypeVar("F", bound="Callable[..., object]")


class _Told(NamedTuple):
    """When an event is told, and of what."""

    trigger: str
    arguments: tuple[str, ...]
    statuses: frozenset[str] | None = None
    """Of the record that was written; None: it does not depend on one."""


_OF_ENDS = ("worker", "outcome", "task")
_TOLD = {
    "starting": _Told("worker_start", ("worker",)),
    "worker_running": _Told("broker_listen_start", ("broker", "worker")),
    "stopping": _Told("qtasks_stop", ("qtasks", "starter")),
    "worker_stopping": _Told("worker_stop", ("worker",)),
    "task_running": _Told("worker_execute_before", ("worker", "execution")),
    "task_stopping": _Told("worker_execute_after", ("worker", "execution", "record")),
    "task_success": _Told("worker_outcome", _OF_ENDS, frozenset({"success"})),
    "task_error": _Told("worker_outcome", _OF_ENDS, frozenset({"error", "dead"})),
    "task_cancel": _Told("worker_outcome", _OF_ENDS, frozenset({"cancel"})),
}


class Event:
    """A decorator: its function is told of one event, after the plugins, in the order of declaration.

    The function is a `def` (on the event loop: it must not block) or an `async def`, and takes by name what it needs of
    the event's arguments. One that raises is logged; only at `starting` and `worker_running` it stops the start.

    Parameters:
        app: The app.
        name: One of those of `On`.
    """

    def __init__(self, app: App, name: str) -> None:
        self._app = app
        self._name = name

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(self, /) -> Event: ...
    def __call__(self, function: Any = None, /) -> Any:
        """Have a function told of the event; return it.

        Raises:
            ConfigError: It wants an argument that is not given, or it is told of each task and the app is at work.
        """
        if function is None:
            return self
        told = _TOLD[self._name]
        name = f"app.events.on.{self._name}({getattr(function, '__qualname__', function)})"
        wanted = checked_arguments(name, f"the event {self._name}", function, told.arguments)
        self._app.triggers.register(_plugin(name, told, _teller(self._app, told, function, wanted)))
        return function


class On:
    """The events of an app, each a decorator, as `@app.events.on.task_error`; see `Event`.

    Parameters:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def starting(self) -> Event:
        """A worker is about to take tasks, its connections are open. Gives *worker*."""
        return Event(self._app, "starting")

    @property
    def worker_running(self) -> Event:
        """A worker begins to take tasks. Gives *broker*, *worker*."""
        return Event(self._app, "worker_running")

    @property
    def stopping(self) -> Event:
        """A worker is asked to stop; its tasks may still finish. Gives *qtasks* (the app), *starter*."""
        return Event(self._app, "stopping")

    @property
    def worker_stopping(self) -> Event:
        """A worker has ended its tasks and is about to close its connections. Gives *worker*."""
        return Event(self._app, "worker_stopping")

    @property
    def task_running(self) -> Event:
        """A task is about to run. Gives *worker*, *execution*."""
        return Event(self._app, "task_running")

    @property
    def task_stopping(self) -> Event:
        """A run has ended, however; its *record*, if any, is not written yet. Gives *worker*, *execution*, *record*."""
        return Event(self._app, "task_stopping")

    @property
    def task_success(self) -> Event:
        """A task has succeeded, which is written. Gives *worker*, *outcome*, *task* (a TaskSnapshot)."""
        return Event(self._app, "task_success")

    @property
    def task_error(self) -> Event:
        """A task has failed for good, or is dead, which is written. Gives *worker*, *outcome*, *task*."""
        return Event(self._app, "task_error")

    @property
    def task_cancel(self) -> Event:
        """A task was cancelled, or has expired, which is written. Gives *worker*, *outcome*, *task*."""
        return Event(self._app, "task_cancel")


class Events:
    """See `On`.

    Parameters:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self.on = On(app)
        """The events, each a decorator."""


def _teller(app: App, told: _Told, function: Callable[..., Any], wanted: tuple[str, ...]) -> Callable[..., Any]:
    """Return what answers the trigger: a coroutine where the function is one."""

    def tell(**given: Any) -> Any:
        if told.statuses is not None:
            record = given["outcome"].record
            if record is None or record.status not in told.statuses:
                return None
            given["task"] = _snapshot(app, record)
        return function(**_chosen(given, wanted))

    return tell


def _snapshot(app: App, record: Any) -> TaskSnapshot[Any]:
    definition = app.registry.get(record.task_name)
    return TaskSnapshot(app, record, Any if definition is None else definition.returns)


def _chosen(given: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in wanted}


def _plugin(name: str, told: _Told, teller: Callable[..., Any]) -> SimpleNamespace:
    from pluggy import HookimplMarker  # noqa: PLC0415  # loaded for plugins only

    mark = HookimplMarker("qtasks")
    return SimpleNamespace(__name__=name, **{told.trigger: mark(trylast=True)(teller)})
