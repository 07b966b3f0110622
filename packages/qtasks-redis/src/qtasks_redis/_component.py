"""What broker, storage and global config have in common: a life on one loop, over the link of that loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from qtasks_core.errors import UnavailableError
from qtasks_redis._home import home_of

if TYPE_CHECKING:
    from qtasks_core.contract import ComponentContext
    from qtasks_redis._link import Link
    from qtasks_redis._scripts import Script
    from qtasks_redis._wire import Argument

__all__ = ["RedisComponent"]


class RedisComponent:
    """Connect with start(), leave with stop().

    Parameters:
        url: See docs/brokers/redis.md.
        context: The app's.

    Raises:
        ConfigError: The URL has another form.
    """

    qtasks_api: ClassVar[int] = 1

    def __init__(self, url: str, context: ComponentContext) -> None:
        self.home = home_of(url, context)
        self._context = context
        self._started = False
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def link(self) -> Link:
        """The way to the server.

        Raises:
            UnavailableError: start() comes first.
        """
        if self._link is None:
            raise UnavailableError("the connection to Redis is not open: start() comes first")
        return self._link

    async def start(self) -> None:
        """Connect.

        Raises:
            ConfigError: The server is not fit.
            UnavailableError: It is away.
        """
        if self._started:
            return
        self._loop = asyncio.get_running_loop()
        self._link = await self.home.open()
        self._started = True
        try:
            await self.on_start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leave."""
        if not self._started:
            return
        self._started = False
        await self.on_stop()
        self._link = None
        await self.home.close()

    async def on_start(self) -> None:
        """Prepare what belongs to the loop; the server is there."""

    async def on_stop(self) -> None:
        """Say the last; the connection is still open."""

    async def ask(self, script: Script, *args: Argument) -> Any:
        """Run a script that may be run again: no reply is no harm.

        Raises:
            UnavailableError: No reply came.
        """
        return await self.link.ask(script, *args)

    async def query(self, *args: Argument) -> Any:
        """Run a command that may be run again; errors as in ask()."""
        return await self.link.query(*args)
