"""One dependency is opened: called or entered, and what leaves it again is kept for the end."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from qtasks_depends.errors import DependencyOpenError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import ExitStack

    from qtasks_core.releases import Releases
    from qtasks_depends.graph import Node
    from qtasks_depends.threads import Threads

__all__ = ["enter_here", "enter_on_loop", "start"]

logger = logging.getLogger("qtasks.depends")

_YIELDED_NOTHING = "generator didn't yield"
"""What `contextlib` says of a generator that ended before its first value."""


async def enter_on_loop(node: Node, arguments: Mapping[str, Any], releases: Releases, threads: Threads) -> Any:
    """Open a dependency on the event loop, or in a thread when it is sync; return its value.

    Parameters:
        node: The dependency.
        arguments: What it is called with.
        releases: What leaves it again is appended; that logs its errors, and suppresses none of the task's.
        threads: For sync ones.

    Raises:
        DependencyOpenError: Its generator yielded nothing.
        Exception: What it raises.
    """
    kind, make = node.making
    if kind == "async generator":
        return await start(node, make(**arguments), releases)
    if kind == "async":
        return await make(**arguments)
    if kind == "sync":
        value = await threads.call(make, **arguments)
        return await value if inspect.iscoroutine(value) else value
    is_plain = kind == "async manager" or inspect.isgeneratorfunction(node.function)
    manager = make(**arguments) if is_plain else await threads.call(make, **arguments)
    try:
        if kind == "async manager":
            value = await manager.__aenter__()
            releases.append(_Leaving(node, manager.__aexit__))
        else:
            value = await threads.enter(manager)
            releases.append(_Leaving(node, lambda *error: threads.leave(manager, *error)))
    except RuntimeError as error:
        raise _explained(error, node) from error.__cause__
    return value


async def start(node: Node, generator: AsyncGenerator[Any], releases: Releases) -> Any:
    """Return the first value of an async generator, which goes on when the scope ends.

    Parameters:
        node: The dependency.
        generator: Just made.
        releases: What goes on with it is appended.

    Raises:
        DependencyOpenError: It yielded nothing.
        Exception: What it raises.
    """
    try:
        value = await generator.__anext__()
    except StopAsyncIteration:
        raise _empty(node) from None
    releases.append(_GoingOn(node, generator))
    return value


def enter_here(node: Node, arguments: Mapping[str, Any], stack: ExitStack) -> Any:
    """Open a sync dependency in this thread; return its value.

    Parameters:
        node: The dependency.
        arguments: What it is called with.
        stack: What leaves it again is pushed on it.

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


class _GoingOn:
    """Lets an async generator go on to its end, or raises in it what the run ended with."""

    __slots__ = ("_generator", "_node")

    def __init__(self, node: Node, generator: AsyncGenerator[Any]) -> None:
        self._node = node
        self._generator = generator

    async def __call__(self, error: BaseException | None) -> None:
        trace = None if error is None else error.__traceback__
        try:
            await (self._generator.__anext__() if error is None else self._generator.athrow(error))
        except StopAsyncIteration:
            pass
        except BaseException as raised:
            if error is not None and (raised is error or raised.__cause__ is error):
                error.__traceback__ = trace  # it lets the error through: the way through it is no news
            elif isinstance(raised, Exception):  # it must not stop the others
                _log(self._node, raised)
            else:
                raise
        else:
            _log(self._node, RuntimeError("it yielded twice: expected one `yield`, with its value"))
            await self._generator.aclose()


class _Leaving:
    """Leaves a context manager."""

    __slots__ = ("_leave", "_node")

    def __init__(self, node: Node, leave: Callable[..., Any]) -> None:
        self._node = node
        self._leave = leave

    async def __call__(self, error: BaseException | None) -> None:
        try:
            if error is None:
                await self._leave(None, None, None)
            else:
                await self._leave(type(error), error, error.__traceback__)
        except Exception as raised:  # noqa: BLE001  # it must not stop the others
            if raised is not error:
                _log(self._node, raised)

    def now(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._leave(kind, error, trace)
        except Exception as raised:  # noqa: BLE001  # as above
            if raised is not error:
                _log(self._node, raised)


def _log(node: Node, raised: Exception) -> None:
    logger.error("the dependency %s did not close cleanly", node, exc_info=raised)


def _explained(error: RuntimeError, node: Node) -> Exception:
    return _empty(node) if str(error) == _YIELDED_NOTHING else error


def _empty(node: Node) -> DependencyOpenError:
    return DependencyOpenError(f"the dependency {node} yielded nothing: expected one `yield` with its value")
