"""The plugin: it says who provides a parameter, and begins and ends the scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.plugins import hookimpl
from qtasks_depends.hints import asked_by
from qtasks_depends.injecting import StateInjector, TaskDependencies, injector_of
from qtasks_depends.scopes import Scopes
from qtasks_depends.state import check_state, state_class_of

if TYPE_CHECKING:
    from inspect import Parameter

    from qtasks_core.app import AppFace
    from qtasks_core.contract import Broker, GlobalConfig, Results, Worker
    from qtasks_core.definition import TaskDefinition
    from qtasks_depends.hints import Asked

__all__ = ["DependsPlugin"]


class DependsPlugin:
    """Provides `Depends` and states for one app; it is installed by its entry point."""

    qtasks_api = 1

    def __init__(self) -> None:
        self._scopes: Scopes | None = None
        self._last: TaskDependencies | None = None
        self._asked: tuple[TaskDefinition, dict[str, Asked]] | None = None
        """What the parameters of the task that is being declared ask for: they are come for one by one."""

    @hookimpl
    def qtasks_configure(self, qtasks: AppFace) -> None:
        """Get ready to hear of the app's components."""
        self._scopes_of(qtasks)

    @hookimpl
    def qtasks_register_injector(self, qtasks: AppFace, task: TaskDefinition, parameter: Parameter) -> Any:
        """Provide what `Depends` marks, and what is annotated with a state.

        Raises:
            DependencyError: It cannot be provided; says the way to it.
        """
        where = f"task {task.name}"
        if self._asked is None or self._asked[0] is not task:
            self._asked = (task, {one.name: one for one in asked_by(task.function, where)})
        asked = self._asked[1][parameter.name]
        if asked.mark is not None:
            if self._last is None or self._last.task is not task:
                self._last = TaskDependencies(task, qtasks.core, self._scopes_of(qtasks))
            return injector_of(parameter.name, self._last)
        state = state_class_of(asked.type_)
        if state is None:
            return None
        is_async = task.kind.startswith("async")
        check_state(state, qtasks.core, f"{where}: parameter {parameter.name!r}", is_async=is_async)
        return StateInjector(state, qtasks.core)

    @hookimpl
    def global_config_start(self, global_config: GlobalConfig) -> None:
        """Begin the scope "global_config"."""
        self._begin("global_config", global_config)

    @hookimpl(trylast=True)
    async def global_config_stop(self, global_config: GlobalConfig) -> None:
        """End it."""
        await self._end("global_config", global_config)

    @hookimpl
    def storage_start(self, storage: Results) -> None:
        """Begin the scope "storage"."""
        self._begin("storage", storage)

    @hookimpl(trylast=True)
    async def storage_stop(self, storage: Results) -> None:
        """End it."""
        await self._end("storage", storage)

    @hookimpl
    def broker_start(self, broker: Broker) -> None:
        """Begin the scope "broker"."""
        self._begin("broker", broker)

    @hookimpl(trylast=True)
    async def broker_stop(self, broker: Broker) -> None:
        """End it."""
        await self._end("broker", broker)

    @hookimpl
    def worker_start(self, worker: Worker) -> None:
        """Begin the scope "worker"."""
        self._begin("worker", worker)

    @hookimpl(trylast=True)
    async def worker_stop(self, worker: Worker) -> None:
        """End it: its last task is over."""
        await self._end("worker", worker)

    @hookimpl
    def worker_process_start(self, qtasks: AppFace) -> None:
        """Begin the scope of all components in a process for tasks."""
        self._scopes_of(qtasks).begin_process()

    @hookimpl(trylast=True)
    async def worker_process_stop(self, qtasks: AppFace) -> None:
        """End it."""
        await self._scopes_of(qtasks).end_process()

    def _begin(self, name: str, component: object) -> None:
        if self._scopes is not None:  # else it was added by hand, and no task has dependencies
            self._scopes.begin(name, component)

    async def _end(self, name: str, component: object) -> None:
        if self._scopes is not None:
            await self._scopes.end(name, component)

    def _scopes_of(self, qtasks: AppFace) -> Scopes:
        if self._scopes is None:
            self._scopes = Scopes(qtasks.core)
        return self._scopes
