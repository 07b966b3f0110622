"""What is declared with an app, through either of its faces: tasks, routers, middlewares and plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from qtasks_core.calls import TaskFunction
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import RegistrationError
from qtasks_core.events import Events
from qtasks_core.homes import Bound
from qtasks_core.routers import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtasks_core.app import App
    from qtasks_core.middlewares import TaskMiddleware

__all__ = ["Registration"]

F = TypeVar("F", bound=TaskFunction[..., Any, Any])


class Registration:
    """The half of an app's face that is used while modules are imported."""

    core: App

    def include_router(self, router: Router, prefix: str = "") -> None:
        """Take all tasks of a router, also those that are declared later.

        Parameters:
            router: Of either face.
            prefix: Before each name, with a dot.

        Raises:
            RegistrationError: A name is taken (shows both places; nothing is taken then), or it is included already.
        """
        if not isinstance(router, Router):
            raise RegistrationError(f"include_router: expected a Router, got {router!r}")
        router.include_in(self.core, prefix)

    def bind(self, task: F) -> F:
        """Return a task of a router, or a shared one, as this app has it: for processes with several apps.

        Parameters:
            task: What `@router.task` or `@shared_task` returned.

        Raises:
            UnboundTaskError: The app has not taken it.
            RegistrationError: It is no task.
        """
        if not isinstance(task, TaskFunction):
            raise RegistrationError(f"bind: expected a task, got {task!r}")
        return task.bound_to(self.core)

    def add_middleware(self, middleware: TaskMiddleware | type[TaskMiddleware]) -> None:
        """Put a middleware around all tasks of the app, inside of those that were added before.

        Parameters:
            middleware: The middleware, or its class, of which an object is made.

        Raises:
            ConfigError: It is none, or overrides no step; or it goes around runs and a worker is at work.
        """
        self.core.add_middleware(middleware)

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """What is taken in the place of a dependency, by the dependency: for tests.

        Read at each run by plugins that provide parameters, as `Depends` does; runs of this process only.
        """
        return self.core.dependency_overrides

    def add_plugin(
        self, plugin: object, trigger_names: Sequence[str] | None = None, component: str | None = None
    ) -> None:
        """Let an object answer triggers: of the methods that are named after triggers, all or the chosen ones.

        A `BasePlugin` that overrides `trigger` answers with it what is chosen and has no method of its own; where
        nothing is chosen, all triggers of *component*, `qtasks` by default. `start()` and `stop()` of a plugin are
        called each time when its component, by default the broker of one of the app's loops, starts and stops.

        Parameters:
            plugin: The object.
            trigger_names: The triggers that it answers.
            component: One of qtasks, broker, storage, global_config, worker (its own triggers and those of the task
                executor), task_executor, starter, stats.

        Raises:
            ConfigError: A trigger or component is unknown, or the plugin does not answer it; it wants an argument that
                a trigger does not give; it answers a trigger already; a hot trigger is called for each task, and the
                app is at work.
        """
        self.core.add_plugin(plugin, trigger_names, component)

    @property
    def events(self) -> Events:
        """Functions that are told of what happens: `@app.events.on.task_error` and others; see `On`."""
        return Events(self.core)

    def _declare(self, wrap: Callable[[Bound], Any], function: Any, options: dict[str, Any]) -> Any:
        definition = self.core.declare(TaskDefinition(function, **options))
        return wrap(Bound(self.core, definition))
