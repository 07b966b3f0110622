"""What a dependency may ask for by annotation alone: the task's context, the app, a component, a state."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core import contract
from qtasks_core.app import App, AppFace
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext
from qtasks_depends.errors import DependencyError
from qtasks_depends.marking import ScopeEnum
from qtasks_depends.state import bound, check_state, state_class_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import Execution

__all__ = ["Special", "special_of"]


class Special(NamedTuple):
    """A value that every run has."""

    name: str
    scope: ScopeEnum
    """The narrowest in which it is the same."""
    read: Callable[[Execution], Any]


_COMPONENTS: dict[Any, tuple[str, ScopeEnum]] = {
    contract.Broker: ("broker", ScopeEnum.BROKER),
    contract.Results: ("storage", ScopeEnum.STORAGE),
    contract.Storage: ("storage", ScopeEnum.STORAGE),
    contract.GlobalConfig: ("global_config", ScopeEnum.GLOBAL_CONFIG),
    contract.Worker: ("worker", ScopeEnum.WORKER),
    contract.TaskExecutor: ("task_executor", ScopeEnum.WORKER),
    contract.Starter: ("starter", ScopeEnum.GLOBAL_CONFIG),
}


def special_of(type_: Any, app: App, what: str, *, task_is_async: bool, is_async: bool) -> Special | None:
    """Return what an annotation asks for; None: nothing of this kind.

    Parameters:
        type_: The annotation.
        app: The task's app.
        what: The parameter and the way to it, for messages.
        task_is_async: Whether the task is an `async def`: a context follows it.
        is_async: Whether the dependency itself is one: a state follows that.

    Raises:
        DependencyError: A context or a state is of the other face, or the app cannot keep states.
    """
    if _is_hashable(type_) and type_ in _COMPONENTS:
        name, scope = _COMPONENTS[type_]
        return Special(name, scope, lambda execution: execution.component(name))
    state = state_class_of(type_)
    if state is not None:
        check_state(state, app, what, is_async=is_async)
        return Special(state.__name__, ScopeEnum.GLOBAL_CONFIG, lambda _: bound(state, app))
    if not inspect.isclass(type_):
        return None
    if issubclass(type_, TaskContext):
        return _context(type_, what, is_async=task_is_async)
    if issubclass(type_, AppFace):
        return Special("app", ScopeEnum.GLOBAL_CONFIG, lambda _: _face(app, type_))
    return None


def _context(type_: type[TaskContext], what: str, *, is_async: bool) -> Special:
    expected = AsyncTaskContext if is_async else BlockingTaskContext
    if not issubclass(expected, type_):
        module = "qtasks.asyncio" if is_async else "qtasks"
        kind = "an async def" if is_async else "a def"
        raise DependencyError(f"{what}: expected {module}.TaskContext, for the task is {kind}; got {type_.__name__}")
    return Special("TaskContext", ScopeEnum.TASK, lambda execution: execution.context)


def _face(app: App, type_: type[AppFace]) -> AppFace:
    """Return the app as its user made it, or with the face that was asked for."""
    return app.face if isinstance(app.face, type_) else type_.of(app)


def _is_hashable(type_: Any) -> bool:
    try:
        hash(type_)
    except TypeError:
        return False
    return True
