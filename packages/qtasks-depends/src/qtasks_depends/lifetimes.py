"""Dependencies that live as long as a component of a worker: opened for the first who asks, closed when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from typing import TYPE_CHECKING, Any

from qtasks_core.releases import Releases
from qtasks_depends.entering import enter_on_loop
from qtasks_depends.errors import DependencyOpenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from qtasks_depends.graph import Node
    from qtasks_depends.threads import Threads

    Arguments = Callable[[], Awaitable[dict[str, Any]]]

__all__ = ["Lifetime"]

logger = logging.getLogger("qtasks.depends")


class Lifetime:
    """What was opened for one component on the running loop.

    Each dependency is opened and closed in an asyncio task of its own, so that it may hold what belongs to one task, as
    a task group or a timeout; and with the contextvars of the component's start, not those of the run that asked first.

    Parameters:
        name: Of the component, for messages.
        component: The component; it is kept, so that no other is taken for it.
        threads: For sync dependencies.
        close_s: Seconds that each may take to close.
    """

    def __init__(self, name: str, component: object, threads: Threads, close_s: float) -> None:
        self.component = component
        self.values: dict[object, Any] = {}
        """What is open, by key of the dependency."""
        self.threads = threads
        self.users = 0
        """How often the component was started and not stopped."""
        self._name = name
        self._close_s = close_s
        self._context = contextvars.copy_context()
        self._keepers: dict[object, _Keeper] = {}
        self._open: list[_Keeper] = []
        self._is_closed = False

    async def get(self, node: Node, arguments: Arguments) -> Any:
        """Return the value of a dependency; hundreds that ask at once wait for one opening.

        Parameters:
            node: The dependency.
            arguments: Opens what it needs, and returns what it is called with.

        Raises:
            DependencyOpenError: The component has stopped.
            Exception: What opening raises; who asks next tries again.
        """
        if node.key in self.values:
            return self.values[node.key]
        if self._is_closed:
            raise DependencyOpenError(f"the dependency {node} does not open: its {self._name} has stopped")
        keeper = self._keepers.get(node.key)
        if keeper is None:
            keeper = self._keepers[node.key] = _Keeper(self, node)
            loop = asyncio.get_running_loop()
            keeper.task = loop.create_task(keeper.keep(arguments), context=self._context.copy())
        return await keeper.value()

    async def close(self) -> None:
        """Close all, the last opened first; what takes too long is cancelled and left."""
        self._is_closed = True
        opening = [one.task for one in self._keepers.values() if one not in self._open and one.task is not None]
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening, timeout=self._close_s)
        while self._open:
            await self._close(self._open.pop())
        self.values.clear()
        self._keepers.clear()

    async def _close(self, keeper: _Keeper) -> None:
        keeper.closing.set()
        if keeper.task is None or keeper.task.done():
            return
        await asyncio.wait([keeper.task], timeout=self._close_s)
        if not keeper.task.done():
            logger.error("the dependency %s did not close within %g s; it is left", keeper.node, self._close_s)
            keeper.task.cancel()

    def opened(self, keeper: _Keeper, value: object) -> None:
        """Keep a value for all who ask."""
        self.values[keeper.node.key] = value
        self._open.append(keeper)

    def gone(self, keeper: _Keeper) -> None:
        """Take it that a dependency did not open, or is open no more: who asks next opens it anew."""
        if self._keepers.get(keeper.node.key) is keeper:
            del self._keepers[keeper.node.key]
            self.values.pop(keeper.node.key, None)
        with contextlib.suppress(ValueError):  # it is being closed
            self._open.remove(keeper)


class _Keeper:
    """Opens one dependency, holds it open, and closes it.

    Parameters:
        lifetime: Whose it is.
        node: The dependency.
    """

    def __init__(self, lifetime: Lifetime, node: Node) -> None:
        self.node = node
        self.closing = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._lifetime = lifetime
        self._value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._trace: TracebackType | None = None
        self._releases = Releases()

    async def value(self) -> Any:
        """Return the value when it is there; who is cancelled does not cancel the opening.

        Raises:
            Exception: What opening raised, with the traceback of the opening only.
        """
        await asyncio.wait([self._value])
        error = self._value.exception()
        if error is not None:
            raise error.with_traceback(self._trace)  # each raising adds to it, and hundreds may ask
        return self._value.result()

    async def keep(self, arguments: Arguments) -> None:
        """Live from opening to closing."""
        try:
            value = await enter_on_loop(self.node, await arguments(), self._releases, self._lifetime.threads)
            del arguments  # it holds on to the run that asked first
            self._lifetime.opened(self, value)
            self._value.set_result(value)
            del value
            await self.closing.wait()
        except BaseException as error:  # noqa: BLE001  # it is given to all who asked
            await self._end(error)
        else:
            await self._releases.release(None)
        finally:
            self._lifetime.gone(self)

    async def _end(self, error: BaseException) -> None:
        await self._releases.release(error)
        if isinstance(error, asyncio.CancelledError):
            error = DependencyOpenError(f"the dependency {self.node} does not open: its component stops")
        if not self._value.done():
            self._trace = error.__traceback__
            self._value.set_exception(error)
            self._value.exception()  # who asked may have been cancelled since
        elif not self.closing.is_set():
            logger.error("the dependency %s ended by itself; who asks next opens it anew", self.node, exc_info=error)
