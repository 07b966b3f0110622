"""The lifetimes of one app in this process: one for each component of each worker, or one for a process of its pool."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qtasks_core.role import is_pool_process
from qtasks_depends.errors import DependencyOpenError
from qtasks_depends.lifetimes import Lifetime
from qtasks_depends.threads import Threads

if TYPE_CHECKING:
    from qtasks_core.app import App
    from qtasks_core.contract import Execution
    from qtasks_depends.marking import ScopeEnum

__all__ = ["Scopes"]

_Key = tuple[str, int, asyncio.AbstractEventLoop]
_PROCESS = "process"


class Scopes:
    """Begins and ends lifetimes, as components start and stop.

    Parameters:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._lifetimes: dict[_Key, Lifetime] = {}
        self._threads: dict[asyncio.AbstractEventLoop, Threads] = {}
        self._process: Lifetime | None = None

    def begin(self, name: str, component: object) -> Lifetime:
        """Take it that a component starts on the running loop; one that several use is started by each."""
        key = (name, id(component), asyncio.get_running_loop())
        lifetime = self._lifetimes.get(key)
        if lifetime is None:
            close_s = self._app.config.shutdown_timeout
            lifetime = self._lifetimes[key] = Lifetime(name, component, self.threads(), close_s)
        lifetime.users += 1
        return lifetime

    async def end(self, name: str, component: object) -> None:
        """Close what lives with a component, when it stops for the last of its users on this loop."""
        loop = asyncio.get_running_loop()
        lifetime = self._lifetimes.get((name, id(component), loop))
        if lifetime is None:
            return
        lifetime.users -= 1
        if lifetime.users == 0:
            await lifetime.close()
            del self._lifetimes[(name, id(component), loop)]
        if not any(key[2] is loop for key in self._lifetimes):
            await self._threads.pop(loop).close(self._app.config.shutdown_timeout)

    def begin_process(self) -> None:
        """Take it that this process of a worker's pool begins: all wider scopes live as long as it does."""
        self._process = self.begin(_PROCESS, self)

    async def end_process(self) -> None:
        """Close what lives with this process."""
        await self.end(_PROCESS, self)

    def of(self, scope: ScopeEnum, execution: Execution) -> Lifetime:
        """Return the lifetime of a component of the worker that runs a task.

        Parameters:
            scope: Which component; not the task.
            execution: The run.

        Raises:
            DependencyOpenError: The app has no such component, or it is not started.
        """
        if is_pool_process():
            found = self._process
        else:
            component = execution.component(scope.value)
            component = getattr(component, "component", component)  # a global config is shown with triggers around it
            found = self._lifetimes.get((scope.value, id(component), asyncio.get_running_loop()))
        if found is None:
            raise DependencyOpenError(f"scope {scope.value!r}: the app has no {scope.value} that is started")
        return found

    def threads(self) -> Threads:
        """Return what runs sync dependencies for the running loop."""
        loop = asyncio.get_running_loop()
        found = self._threads.get(loop)
        if found is None:
            found = self._threads[loop] = Threads(self._app.config.concurrency)
        return found
