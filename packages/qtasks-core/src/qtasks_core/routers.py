"""Routers: tasks that are declared without an app, and the apps that took them."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast

from qtasks_core.calls import AsyncTaskFunction, BlockingTaskFunction
from qtasks_core.definition import TaskDefinition, TaskRegistry
from qtasks_core.errors import RegistrationError
from qtasks_core.forks import after_fork
from qtasks_core.homes import Home
from qtasks_core.makers import TaskMaker
from qtasks_core.task_options import checked_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.app import App
    from qtasks_core.makers import AsyncTaskMaker, BlockingTaskMaker
    from qtasks_core.task_options import TaskOptions

__all__ = ["AsyncRouter", "Router", "Routes", "SyncRouter"]

_LISTS = ("middlewares", "middlewares_before", "middlewares_after")


class Routes:
    """Tasks without an app of their own, and the apps that took them.

    Parameters:
        what: How messages call them.
        cure: How a task of them gets an app, for messages.
        prefix: Before each name, with a dot.
        defaults: Options of tasks that do not say otherwise.
    """

    def __init__(self, what: str, cure: str, prefix: str = "", defaults: Mapping[str, Any] | None = None) -> None:
        self.what = what
        self.prefix = _checked_prefix(prefix, what)
        self._cure = cure
        self._defaults = _checked_defaults(defaults or {}, what)
        self._registry = TaskRegistry()
        self._homes: dict[str, Home] = {}
        self._apps: list[tuple[weakref.ref[App], str]] = []
        self._lock = threading.RLock()
        after_fork(self, Routes._forget)

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]:
        """The declared tasks by name, with this prefix."""
        return self._registry.as_mapping()

    def declare(self, wrap: Callable[[Home], Any], function: Any, options: dict[str, Any]) -> Any:
        """Make a task of a function, also in the apps that took the others already.

        Raises:
            RegistrationError: An option is wrong, or the name is taken here or in one of those apps.
        """
        definition = self._definition(function, options)
        home = Home(definition, self._cure)
        with self._lock:
            self._registry.check(definition)
            _hand_over([(app, home, prefix) for app, prefix in self._living()])
            self._registry.add(definition)
            self._homes[definition.name] = home
        return wrap(home)

    def include_in(self, app: App, prefix: str = "") -> None:
        """Give an app all the tasks, also those that are declared later.

        Parameters:
            app: The app.
            prefix: Before each name, with a dot.

        Raises:
            RegistrationError: A name is taken, and none of the tasks was taken; or the app has them already.
        """
        prefix = _checked_prefix(prefix, "include_router")
        with self._lock:
            if any(one is app for one, _ in self._living()):
                raise RegistrationError(f"{self.what} is included in the app {app.name!r} already")
            _hand_over([(app, home, prefix) for home in self._homes.values()])
            self._apps = [(weakref.ref(one), its) for one, its in [*self._living(), (app, prefix)]]

    def _living(self) -> list[tuple[App, str]]:
        found = [(ref(), prefix) for ref, prefix in self._apps]
        return [(app, prefix) for app, prefix in found if app is not None]

    def _definition(self, function: Any, options: dict[str, Any]) -> TaskDefinition:
        """Return the definition of a task: its own options first, but middlewares and extra ones of both."""
        own = TaskDefinition(function, **options)
        given: dict[str, Any] = {**self._defaults, **options}
        for name in _LISTS:
            given[name] = [*self._defaults.get(name, ()), *own.options[name]]  # type: ignore[literal-required]
        given["extra"] = {**self._defaults.get("extra", {}), **own.extra}
        if own.options["timeout"] is not None:
            given.pop("max_time", None)
            given["timeout"] = own.options["timeout"]
        definition = TaskDefinition(function, **given)
        return definition.renamed(_joined(self.prefix, definition.name)) if self.prefix else definition

    def _forget(self) -> None:
        self._lock = threading.RLock()


class Router(Routes):
    """Tasks that an app takes with `app.include_router(router)`; see `AsyncRouter` and `SyncRouter`.

    Parameters:
        prefix: Before each name, with a dot: "mail" makes "mail.send" of `send`.
        defaults: Options of tasks that do not say otherwise; see `TaskOptions`. Middlewares are around the tasks' own.

    Raises:
        RegistrationError: The prefix or an option is wrong.
    """

    def __init__(self, prefix: str = "", **defaults: Unpack[TaskOptions]) -> None:
        what = f"router {prefix!r}" if prefix else "router"
        super().__init__(what, "app.include_router(router) gives it one", prefix, defaults)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.prefix!r}: {', '.join(self.tasks) or 'no tasks'}>"


class AsyncRouter(Router):
    """`qtasks.asyncio.Router`: its tasks are typed for `await`; see `Router`."""

    @property
    def task(self) -> AsyncTaskMaker:
        """Make a task of a function, as `app.task` does."""
        return TaskMaker(partial(self.declare, AsyncTaskFunction))


class SyncRouter(Router):
    """`qtasks.Router`: its tasks are typed for blocking calls; see `Router`."""

    @property
    def task(self) -> BlockingTaskMaker:
        """Make a task of a function, as `app.task` does."""
        return TaskMaker(partial(self.declare, BlockingTaskFunction))


def _checked_prefix(prefix: object, what: str) -> str:
    if not isinstance(prefix, str):
        raise RegistrationError(f"{what}: prefix: expected a text, got {prefix!r}")
    return prefix.rstrip(".")


def _checked_defaults(defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return what was given, checked; of middlewares that are classes one object serves all tasks."""
    if "name" in defaults:
        raise RegistrationError(f"{what}: name: expected a prefix; each task has a name of its own")
    checked = cast("dict[str, Any]", checked_options(what, defaults))
    found = {name: checked[name] for name in defaults if name in checked}
    if found.pop("max_time", None) is not None:
        found["timeout"] = checked["timeout"]
    return {**found, "extra": checked["extra"]}


def _hand_over(taking: Sequence[tuple[App, Home, str]]) -> None:
    """Register all of these tasks, each with an app and under a prefix, or none."""
    taken = [(app, home, home.declared.renamed(_joined(prefix, home.declared.name))) for app, home, prefix in taking]
    for app, _, own in taken:
        app.registry.check(own)
    extended = [app.extended(own) for app, _, own in taken]
    for (app, home, _), own in zip(taken, extended, strict=True):
        app.keep(own)
        home.take(app, own)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
