"""One server as one app uses it: a link for each event loop, open while a component of that loop is started."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from qtasks_core.forks import after_fork, keep_for_ever
from qtasks_redis._dialing import dial
from qtasks_redis._keys import Keys
from qtasks_redis._link import Link, run_on
from qtasks_redis._location import locate

if TYPE_CHECKING:
    from qtasks_core.contract import ComponentContext
    from qtasks_redis._location import Location
    from qtasks_redis._mailbox import Mailbox
    from qtasks_redis._scripts import Script
    from qtasks_redis._wire import Argument, Connection

__all__ = ["Home", "home_of"]


def home_of(url: str, context: ComponentContext) -> Home:
    """Return the app's one object for the server that *url* names.

    Raises:
        ConfigError: The URL has another form.
    """
    location = locate(url)
    return context.shared(("redis", location), lambda: Home(location, context.namespace))


class Home:
    """The server.

    Parameters:
        location: Where it is.
        namespace: The app's.
    """

    def __init__(self, location: Location, namespace: str) -> None:
        self.keys = Keys(namespace, location.options.db)
        self.mailboxes: dict[str, Mailbox] = {}
        """Of all engines of the app, by address."""
        self._location = location
        self._lock = threading.Lock()
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        after_fork(self, Home._forget)

    async def open(self) -> Link:
        """Connect the running loop; return its link. Each call has its close().

        Raises:
            ConfigError: The server is not fit.
            UnavailableError: It is away.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            link = self._links.get(loop)
            if link is None:
                link = self._links[loop] = Link(self._location, self.keys)
            link.users += 1
        try:
            await link.start()
        except BaseException:
            await self.close()
            raise
        return link

    async def close(self) -> None:
        """Leave the link of the running loop; the last one closes it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            link = self._links.get(loop)
            if link is None:
                return
            link.users -= 1
            if link.users:
                return
            del self._links[loop]
        await link.stop()

    async def dial(self) -> Connection:
        """Return a connection of its own."""
        return await dial(self._location)

    async def run_on(self, connection: Connection, script: Script, *args: Argument) -> Any:
        """Run a script on a connection of its own."""
        return await run_on(connection, self._location, script, self.keys.prefix, *args)

    def _forget(self) -> None:
        keep_for_ever([link.forget() for link in self._links.values()])
        keep_for_ever((self._links, self.mailboxes))
        self._lock = threading.Lock()
        self._links, self.mailboxes = {}, {}
