"""The dependencies of one run: opened in order on the loop, and for a `def` task the rest of them in its thread."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from qtasks_core.errors import TaskCancelError
from qtasks_depends.entering import enter_here, enter_on_loop
from qtasks_depends.graph import Node
from qtasks_depends.marking import ScopeEnum

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from qtasks_core.contract import Execution
    from qtasks_core.releases import Releases
    from qtasks_depends.scopes import Scopes

__all__ = ["Opening", "opening_of"]

_STATE = "qtasks_depends"


def opening_of(execution: Execution, releases: Releases, scopes: Scopes) -> Opening:
    """Return the one object that opens dependencies for a run.

    Parameters:
        execution: The run.
        releases: Gets what closes again what is opened for it.
        scopes: The app's.
    """
    found = execution.state.get(_STATE)
    if found is None:
        found = execution.state[_STATE] = Opening(execution, releases, scopes)
    return found


class Opening:
    """Opens dependencies for one run; see `opening_of`."""

    __slots__ = ("_execution", "_releases", "_scopes", "_threads", "_values", "_waits_in_thread")

    def __init__(self, execution: Execution, releases: Releases, scopes: Scopes) -> None:
        self._execution = execution
        self._releases = releases
        self._scopes = scopes
        self._threads = scopes.threads()
        self._values: dict[Node, Any] = {}
        self._waits_in_thread = False

    async def value(self, node: Node) -> Any:
        """Return the value of a dependency, or what stands for one that is opened in the task's thread."""
        if node.is_in_thread:
            await self._open_below(node)
            self._wait_in_thread()
            return _InThread(node)
        return await self._open(node)

    async def _open(self, node: Node) -> Any:
        if node.scope is not ScopeEnum.TASK:
            lifetime = self._scopes.of(node.scope, self._execution)
            value = self._values[node] = await lifetime.get(node, partial(self._arguments, node))
            return value
        if node in self._values:
            return self._values[node]
        arguments = await self._arguments(node) if node.arguments else {}
        value = self._values[node] = await enter_on_loop(node, arguments, self._releases, self._threads)
        return value

    async def _arguments(self, node: Node) -> dict[str, Any]:
        found = {}
        for name, source in node.arguments:
            found[name] = await self._open(source) if isinstance(source, Node) else source.read(self._execution)
        return found

    async def _open_below(self, node: Node) -> None:
        """Open what a dependency in the thread needs and does not open there."""
        for below in node.nodes:
            await (self._open_below(below) if below.is_in_thread else self._open(below))

    # ------------------------------------------------------------ in the task's thread

    def _wait_in_thread(self) -> None:
        """Put the opening of the rest around the task's function, once."""
        if self._waits_in_thread:
            return
        self._waits_in_thread = True
        function, execution = self._execution.function, self._execution
        around = self._generate if execution.kind == "generator" else self._call
        execution.function = partial(around, function)

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            args, kwargs = self._opened(stack, args, kwargs)
            return function(*args, **kwargs)

    def _generate(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with ExitStack() as stack:
            args, kwargs = self._opened(stack, args, kwargs)
            return (yield from function(*args, **kwargs))

    def _opened(
        self, stack: ExitStack, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        made = tuple(self._open_here(one.node, stack) if isinstance(one, _InThread) else one for one in args)
        named = {
            name: self._open_here(one.node, stack) if isinstance(one, _InThread) else one
            for name, one in kwargs.items()
        }
        if self._execution.context.cancelled:  # a thread goes on when nobody waits for it any more
            raise TaskCancelError("cancelled while its dependencies were opened")
        return made, named

    def _open_here(self, node: Node, stack: ExitStack) -> Any:
        if node in self._values:
            return self._values[node]
        arguments = {
            name: self._open_here(source, stack) if isinstance(source, Node) else source.read(self._execution)
            for name, source in node.arguments
        }
        value = self._values[node] = enter_here(node, arguments, stack)
        return value


class _InThread:
    """Stands for a value until the task's thread makes it."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __repr__(self) -> str:
        return f"<{self.node}: opened in the task's thread>"
