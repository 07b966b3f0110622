"""The way of one event loop to the server: one connection for commands, one that listens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import hiredis

from qtasks_core.errors import ConfigError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_redis._dialing import dial
from qtasks_redis._faults import code_of, is_wrong_server, translate
from qtasks_redis._listening import Listener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtasks_redis._keys import Keys
    from qtasks_redis._location import Location
    from qtasks_redis._scripts import Script
    from qtasks_redis._wire import Argument, Connection

__all__ = ["Link", "run_on"]

LONGEST_WAIT_S = 1.0


async def run_on(connection: Connection, location: Location, script: Script, prefix: bytes, *args: Argument) -> Any:
    """Run a script on a connection; the server learns it when it does not know it.

    Raises:
        UnavailableError: The server is away, or cannot work just now.
        SendUnknownError: No reply came.
        RefusedError: The server says no.
    """
    try:
        try:
            return await connection.command(b"EVALSHA", script.sha, 1, prefix, *args)
        except hiredis.ReplyError as error:
            if code_of(error) != "NOSCRIPT":
                raise
        return await connection.command(b"EVAL", script.text, 1, prefix, *args)
    except hiredis.ReplyError as error:
        if is_wrong_server(error):
            connection.cut(str(error))
        raise translate(error, location.printed) from error


class Link:
    """Commands, scripts and channels.

    A connection that is lost is made anew by the next command, which waits for it, no longer than `connect_timeout` and
    a short backoff. All commands of a loop share one connection: what is sent first is done first.

    Parameters:
        location: Where the server is.
        keys: Names of keys and channels.
    """

    def __init__(self, location: Location, keys: Keys) -> None:
        self.keys = keys
        self.movers = keys.channel("due")
        """The channel of all that move delayed messages."""
        self.clearings = keys.channel("cleared")
        """The channel on which is told that everything was deleted."""
        self.listener = Listener(location)
        self.users = 0
        self._location = location
        self._connection: Connection | None = None
        self._dialing: asyncio.Task[Connection] | None = None
        self._backoff = Backoff(LONGEST_WAIT_S)
        self._has_failed = self._has_worked = self._is_stopped = False

    def bell(self, epoch: int | str) -> bytes:
        """Return the channel on which a worker is woken."""
        return self.keys.channel(f"b:{epoch}")

    async def start(self) -> None:
        """Connect.

        Raises:
            ConfigError: The server is not fit.
            UnavailableError: It is away.
        """
        await self._connected()

    async def stop(self) -> None:
        """Close both connections for good; what waits for a reply has none."""
        self._is_stopped = True
        await self.listener.stop()
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait([self._dialing])
        if self._connection is not None:
            self._connection.cut("it was stopped")

    async def run(self, script: Script, *args: Argument) -> Any:
        """Run a script with the prefix of the namespace as its key; errors as in run_on()."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connected()
        return await run_on(connection, self._location, script, self.keys.prefix, *args)

    async def command(self, *args: Argument) -> Any:
        """Run a command; errors as in run_on()."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connected()
        try:
            return await connection.command(*args)
        except hiredis.ReplyError as error:
            if is_wrong_server(error):
                connection.cut(str(error))
            raise translate(error, self._location.printed) from error

    async def ask(self, script: Script, *args: Argument) -> Any:
        """Run a script that may be run again: no reply is no harm.

        Raises:
            UnavailableError: The server is away, or no reply came.
            RefusedError: The server says no.
        """
        try:
            return await self.run(script, *args)
        except SendUnknownError as error:
            raise UnavailableError(str(error)) from error

    async def query(self, *args: Argument) -> Any:
        """Run a command that may be run again; errors as in ask()."""
        try:
            return await self.command(*args)
        except SendUnknownError as error:
            raise UnavailableError(str(error)) from error

    def put_before(self, *args: Argument) -> asyncio.Future[Any] | None:
        """Send a command before whatever is sent next; return its reply to come, for whoever wants to know."""
        if self._connection is None:
            return None
        with contextlib.suppress(UnavailableError):
            future = self._connection.command(*args)
            future.add_done_callback(_swallow)
            return future
        return None

    def fault_of(self, sent: Iterable[asyncio.Future[Any] | None]) -> Exception | None:
        """Return what the server said against one of the commands that were put before another."""
        errors = (future.exception() for future in sent if future is not None and future.done())
        return next(
            (translate(one, self._location.printed) for one in errors if isinstance(one, hiredis.ReplyError)), None
        )

    def forget(self) -> Any:
        """Let go, in a forked child; return what must never be collected."""
        connection, self._connection = self._connection, None
        return (None if connection is None else connection.forget()), self._dialing, self.listener.forget()

    async def _connected(self) -> Connection:
        """Return the connection; whoever comes first makes it, and all that wait for it share what comes of it."""
        if self._is_stopped:
            raise UnavailableError(f"{self._location.printed}: it was stopped")
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if self._dialing is None:
            self._dialing = asyncio.get_running_loop().create_task(self._dial(), name="qtasks-redis-dial")
            self._dialing.add_done_callback(self._dialed)
        dialing = self._dialing
        await asyncio.wait([dialing])  # who gives up waiting leaves it to the others
        if dialing.cancelled():
            raise UnavailableError(f"{self._location.printed}: it was stopped")
        return dialing.result()

    async def _dial(self) -> Connection:
        if self._has_failed:
            await self._backoff.wait()
        try:
            return await dial(self._location)
        except ConfigError as error:
            if not self._has_worked:
                raise
            raise UnavailableError(str(error)) from error  # it was fit: whoever changed it may mend it

    def _dialed(self, dialing: asyncio.Task[Connection]) -> None:
        self._dialing = None
        if dialing.cancelled():
            return
        self._has_failed = dialing.exception() is not None
        if not self._has_failed:
            self._has_worked = True
            self._connection = dialing.result()
            self._backoff.reset()


def _swallow(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
