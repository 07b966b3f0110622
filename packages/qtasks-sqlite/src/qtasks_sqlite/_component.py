"""What broker, storage and global config have in common: a life on one loop, over a shared file."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, ClassVar

from qtasks_sqlite._database import database_of
from qtasks_sqlite._loops import call_in
from qtasks_sqlite._reader import IDLE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from qtasks_core.contract import ComponentContext
    from qtasks_sqlite._transaction import Effects

__all__ = ["SqliteComponent"]


class SqliteComponent:
    """Open the shared file with start(), leave it with stop().

    Parameters:
        url: `sqlite:///relative.db` or `sqlite:////absolute/path.db`.
        context: The app's.

    Raises:
        ConfigError: The URL has another form, or its folder is not there.
    """

    qtasks_api: ClassVar[int] = 1

    def __init__(self, url: str, context: ComponentContext) -> None:
        self.interest = IDLE
        self._database = database_of(url, context)
        self._context = context
        self._started = False
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Open the file.

        Raises:
            ConfigError: It can never be opened; names the file.
            UnavailableError: Another process holds it.
        """
        if self._started:
            return
        self._started = True
        self._loop = asyncio.get_running_loop()
        try:
            await self._database.start()
        except BaseException:
            self._started = False
            raise
        await self.on_start()
        self._database.listeners.append(self)

    async def stop(self) -> None:
        """Close the file, if nobody else uses it."""
        if not self._started:
            return
        self._started = False
        await self.on_stop()
        with contextlib.suppress(ValueError):
            self._database.listeners.remove(self)
        self.interest = IDLE
        await self._database.stop()

    async def on_start(self) -> None:
        """Prepare what belongs to the loop; the file is open."""

    async def on_stop(self) -> None:
        """Write the last; the file is still open."""

    def look(self, connection: sqlite3.Connection, *, changed: bool) -> float | None:
        """Look for what is waited for, on the reader's thread; see Looker."""
        raise NotImplementedError

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        raise NotImplementedError

    def _call(self, function: Callable[[], object]) -> None:
        call_in(self._loop, function)
