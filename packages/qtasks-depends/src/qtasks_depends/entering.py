"""One dependency is opened: called or entered, and what leaves it again is put on a stack."""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from qtasks_depends.errors import DependencyOpenError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack, ExitStack

    from qtasks_depends.graph import Node
    from qtasks_depends.threads import Threads

__all__ = ["enter_here", "enter_on_loop"]

logger = logging.getLogger("qtasks.depends")

_YIELDED_NOTHING = "generator didn't yield"
"""What `contextlib` says of a generator that ended before its first value."""


async def enter_on_loop(node: Node, arguments: Mapping[str, Any], stack: AsyncExitStack, threads: Threads) -> Any:
    """Open a dependency on the event loop, or in a thread when it is sync; return its value.

    Parameters:
        node: The dependency.
        arguments: What it is called with.
        stack: What leaves it again is pushed on it; that logs its errors, and suppresses none of the task's.
        threads: For sync ones.

    Raises:
        DependencyOpenError: Its generator yielded nothing.
        Exception: What it raises.
    """
    kind, make = node.making
    if kind == "async manager":
        manager = make(**arguments)
        try:
            value = await manager.__aenter__()
        except RuntimeError as error:
            raise _explained(error, node) from error.__cause__
        stack.push_async_exit(_Leaving(node, manager.__aexit__).later)
        return value
    if kind == "async":
        return await make(**arguments)
    if kind == "sync":
        value = await threads.call(make, **arguments)
        return await value if inspect.iscoroutine(value) else value
    manager = make(**arguments) if inspect.isgeneratorfunction(node.function) else await threads.call(make, **arguments)
    try:
        value = await threads.enter(manager)
    except RuntimeError as error:
        raise _explained(error, node) from error.__cause__
    stack.push_async_exit(_Leaving(node, partial(threads.leave, manager)).later)
    return value


def enter_here(node: Node, arguments: Mapping[str, Any], stack: ExitStack) -> Any:
    """Open a sync dependency in this thread; return its value.

    Parameters:
        node: The dependency.
        arguments: What it is called with.
        stack: As above.

    Raises:
        DependencyOpenError: Its generator yielded nothing.
        Exception: What it raises.
    """
    made = node.making.make(**arguments)
    if node.making.kind == "sync":
        return made
    try:
        value = made.__enter__()
    except RuntimeError as error:
        raise _explained(error, node) from error.__cause__
    stack.push(_Leaving(node, made.__exit__).now)
    return value


class _Leaving:
    """Leaves one dependency."""

    __slots__ = ("_leave", "_node")

    def __init__(self, node: Node, leave: Any) -> None:
        self._node = node
        self._leave = leave

    async def later(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._leave(kind, error, trace)
        except Exception as raised:  # noqa: BLE001  # it must not stop the others
            _log(self._node, raised, error)

    def now(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._leave(kind, error, trace)
        except Exception as raised:  # noqa: BLE001  # as above
            _log(self._node, raised, error)


def _log(node: Node, raised: Exception, error: BaseException | None) -> None:
    if raised is not error:  # a generator that lets the task's error through has done all that it should
        logger.error("the dependency %s did not close cleanly", node, exc_info=raised)


def _explained(error: RuntimeError, node: Node) -> Exception:
    """Say in plain words what `contextlib` says of a generator that yielded nothing."""
    if str(error) != _YIELDED_NOTHING:
        return error
    return DependencyOpenError(f"the dependency {node} yielded nothing: expected one `yield` with its value")
