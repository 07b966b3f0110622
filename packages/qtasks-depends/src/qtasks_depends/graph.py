"""From a task's parameters to what has to be opened for a run: resolved once, when the task is declared."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_depends.errors import DependencyError
from qtasks_depends.hints import asked_by, name_of
from qtasks_depends.kinds import making_of
from qtasks_depends.marking import ScopeEnum
from qtasks_depends.special import special_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtasks_core.app import App
    from qtasks_core.definition import TaskDefinition
    from qtasks_depends.hints import Asked
    from qtasks_depends.kinds import Making
    from qtasks_depends.marking import Dependency
    from qtasks_depends.special import Special

__all__ = ["Argument", "Node", "TaskGraph"]


class Argument(NamedTuple):
    """A parameter of a dependency, and where its value comes from."""

    name: str
    source: Node | Special


class Node:
    """One dependency of a task: a function in a scope.

    Parameters:
        function: Makes the value.
        making: How.
        scope: How long it lives.
        key: Who has the same one shares the value within the scope.
        arguments: What it is called with.
    """

    __slots__ = ("arguments", "function", "is_in_thread", "is_shared", "key", "making", "scope")

    def __init__(
        self, function: Callable[..., Any], making: Making, scope: ScopeEnum, key: object, arguments: Sequence[Argument]
    ) -> None:
        self.function = function
        self.making = making
        self.scope = scope
        self.key = key
        self.arguments = tuple(arguments)
        self.is_shared = False
        """Several of the same task ask for it."""
        self.is_in_thread = False
        """It is opened, used and closed in the thread of its task, unless one on the loop needs it before."""

    @property
    def is_alone(self) -> bool:
        """Whether it is an async generator of the task's scope that needs nothing and serves one parameter."""
        is_generator = self.making.kind == "async generator" and self.scope is ScopeEnum.TASK
        return is_generator and not self.arguments and not self.is_shared

    @property
    def name(self) -> str:
        """How messages call it."""
        return name_of(self.function)

    @property
    def nodes(self) -> list[Node]:
        """What has to be open before."""
        return [one.source for one in self.arguments if isinstance(one.source, Node)]

    def __repr__(self) -> str:
        return f"{self.name} (scope {self.scope.value!r})"


class _Asking(NamedTuple):
    """A dependency whose parameters are looked at."""

    function: Callable[..., Any]
    making: Making
    scope: ScopeEnum
    path: tuple[str, ...]
    above: tuple[object, ...]


class TaskGraph:
    """The dependencies of one task.

    Parameters:
        task: The task.
        app: Its app.
        overrides: What is taken in the place of a dependency.

    Raises:
        DependencyError: Something cannot be provided; says the way to it from the task.
    """

    def __init__(
        self,
        task: TaskDefinition,
        app: App,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]],
    ) -> None:
        self._task = task
        self._app = app
        self._overrides = dict(overrides)
        self._known: dict[object, Node] = {}
        self._all: list[Node] = []
        self.nodes: dict[str, Node] = {}
        """By parameter of the task."""
        start = f"task {task.name}"
        for one in asked_by(task.function, start):
            if one.mark is not None:
                self.nodes[one.name] = self._node(one, one.mark, (start,), ())
        for node in self._all:
            node.is_in_thread = not self.is_async and node.scope is ScopeEnum.TASK and not node.making.is_async

    @property
    def is_async(self) -> bool:
        """Whether the task runs on the loop."""
        return self._task.kind.startswith("async")

    def _node(self, asked: Asked, mark: Dependency, path: tuple[str, ...], above: tuple[object, ...]) -> Node:
        function = self._function_of(asked, mark, path)
        key: object = (function, mark.scope) if mark.use_cache else (function, mark.scope, asked.name, *path)
        if (function, mark.scope) in above:
            raise DependencyError(f"{_way(*path, name_of(function))}: it goes round in a circle")
        known = self._known.get(key)
        if known is not None:
            known.is_shared = True
            return known
        path, above = (*path, name_of(function)), (*above, (function, mark.scope))
        asking = _Asking(function, making_of(function), mark.scope, path, above)
        arguments = [
            Argument(one.name, source)
            for one in asked_by(function, _way(*path))
            if (source := self._source(one, asking)) is not None
        ]
        node = self._known[key] = Node(function, asking.making, mark.scope, key, arguments)
        self._all.append(node)
        return node

    def _function_of(self, asked: Asked, mark: Dependency, path: tuple[str, ...]) -> Callable[..., Any]:
        function = mark.function or (asked.type_ if inspect.isclass(asked.type_) else None)
        if function is None:
            raise DependencyError(
                f"{_way(*path)}: parameter {asked.name!r}: Depends() without a function takes the class that the "
                f"parameter is annotated with: expected a class, got {_shown(asked.type_)}"
            )
        try:
            return self._overrides.get(function, function)
        except TypeError:
            raise DependencyError(f"{_way(*path)}: expected a function that can be hashed, got {function!r}") from None

    def _source(self, asked: Asked, asking: _Asking) -> Node | Special | None:
        """Return where the value of a dependency's parameter comes from; None: it has one of its own."""
        what = f"{_way(*asking.path)}: parameter {asked.name!r}"
        source: Node | Special | None
        if asked.mark is not None:
            source = self._node(asked, asked.mark, asking.path, asking.above)
        else:
            is_async = asking.making.is_async
            source = special_of(asked.type_, self._app, what, task_is_async=self.is_async, is_async=is_async)
        if source is None:
            if asked.is_optional:
                return None
            raise DependencyError(
                f"{what}: expected a default, Depends(…), or the annotation TaskContext, QueueTasks, a component or a "
                f"state; got {_shown(asked.type_)}"
            )
        if asked.is_position_only:
            raise DependencyError(f"{what}: it can be passed by position only; leave out the / behind it")
        _check_scopes(source, asking)
        return source


def _check_scopes(source: Node | Special, asking: _Asking) -> None:
    if source.scope.width >= asking.scope.width:
        return
    name, own = source.name, name_of(asking.function)
    raise DependencyError(
        f"{_way(*asking.path, name)}: {own} lives as long as its {asking.scope.value}, {name} only as long as its "
        f"{source.scope.value}: give {own} scope={source.scope.value!r}, or {name} a wider one"
    )


def _way(*steps: str) -> str:
    return " → ".join(steps)


def _shown(type_: Any) -> str:
    if type_ is None:
        return "no annotation"
    return getattr(type_, "__name__", None) or repr(type_)
