"""What provides the parameters of a task: its dependencies, or a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.provided import NOT_READY
from qtasks_core.role import is_pool_process
from qtasks_depends.entering import start
from qtasks_depends.graph import TaskGraph
from qtasks_depends.marking import ScopeEnum
from qtasks_depends.opening import opening_of
from qtasks_depends.state import bound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from qtasks_core.app import App
    from qtasks_core.contract import Execution
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.releases import Releases
    from qtasks_depends.graph import Node
    from qtasks_depends.scopes import Scopes
    from qtasks_depends.state import State

__all__ = ["StateInjector", "TaskDependencies", "injector_of"]


class TaskDependencies:
    """The graph of a task, and the one with what `app.dependency_overrides` says now.

    Parameters:
        task: The task.
        app: Its app.
        scopes: The app's.

    Raises:
        DependencyError: Something cannot be provided.
    """

    def __init__(self, task: TaskDefinition, app: App, scopes: Scopes) -> None:
        self.task = task
        self.app = app
        self.scopes = scopes
        self.graph = TaskGraph(task, app, {})
        self._overridden = self.graph
        self._overrides: Mapping[Any, Any] = {}

    def nodes(self) -> Mapping[str, Node]:
        """Return the dependencies by parameter.

        Raises:
            DependencyError: An override cannot be provided.
        """
        overrides = self.app.dependency_overrides
        if not overrides:
            return self.graph.nodes
        if overrides != self._overrides:
            self._overridden = TaskGraph(self.task, self.app, overrides)
            self._overrides = dict(overrides)
        return self._overridden.nodes


class DependencyInjector:
    """Provides one parameter that `Depends` marks.

    Parameters:
        name: The parameter.
        dependencies: Those of its task.
    """

    def __init__(self, name: str, dependencies: TaskDependencies) -> None:
        node = dependencies.graph.nodes[name]
        self._name = name
        self._node = node
        self._alone = node.making.make if node.is_alone else None
        """Most are async generators that need nothing, and that nobody else needs: they are opened without a detour."""
        self._dependencies = dependencies
        self._scopes = dependencies.scopes
        self._overrides = dependencies.app.dependency_overrides

    def provide(self, execution: Execution, releases: Releases) -> Awaitable[Any]:
        """Open it, and what it needs before; closed again in reverse order.

        Raises:
            DependencyOpenError: It cannot be opened now.
            Exception: What opening raises.
        """
        if self._alone is not None and not self._overrides:
            return start(self._node, self._alone(), releases)
        return opening_of(execution, releases, self._scopes).value(self._dependencies.nodes()[self._name])


class LastingInjector(DependencyInjector):
    """Provides one that lives longer than a task: once it is open, it is there.

    Parameters:
        name: The parameter.
        dependencies: Those of its task.
    """

    def __init__(self, name: str, dependencies: TaskDependencies) -> None:
        super().__init__(name, dependencies)
        self._scope = self._node.scope
        self._key = self._node.key
        self._worker: object = None
        self._values: Mapping[object, Any] = {}

    def ready(self, execution: Execution) -> Any:
        """Return what is open already, else `NOT_READY`."""
        if self._overrides:
            return NOT_READY
        worker = execution.component("worker")
        if worker is not self._worker:
            self._values = self._scopes.of(self._scope, execution).values
            self._worker = worker
        return self._values.get(self._key, NOT_READY)


def injector_of(name: str, dependencies: TaskDependencies) -> DependencyInjector:
    """Return what provides a parameter that `Depends` marks.

    Parameters:
        name: The parameter.
        dependencies: Those of its task.
    """
    is_lasting = dependencies.graph.nodes[name].scope is not ScopeEnum.TASK and not is_pool_process()
    return (LastingInjector if is_lasting else DependencyInjector)(name, dependencies)


class StateInjector:
    """Provides one parameter that is annotated with a state.

    Parameters:
        state: Its class.
        app: The app.
    """

    def __init__(self, state: type[State], app: App) -> None:
        self._state = state
        self._app = app

    def ready(self, execution: Execution) -> Any:  # noqa: ARG002  # all runs get the like
        """Return a state; it reads nothing before it is asked."""
        return bound(self._state, self._app)

    def provide(self, execution: Execution, releases: Releases) -> Any:  # noqa: ARG002  # nothing is released
        """Return the same."""
        return self.ready(execution)
