"""A connection that only listens: channels, and who hears them; made anew whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

from qtasks_core.errors import QTasksError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_redis._dialing import dial

if TYPE_CHECKING:
    from qtasks_redis._location import Location
    from qtasks_redis._wire import Connection

__all__ = ["Hearer", "Listener"]

LONGEST_WAIT_S = 1.0

logger = logging.getLogger("qtasks.redis")


class Hearer(Protocol):
    """Who hears a channel."""

    def heard(self, payload: bytes) -> None:
        """Hear a message."""
        ...

    def lost(self) -> None:
        """Know that nothing is heard any more."""
        ...

    def again(self) -> None:
        """Know that the channel is heard again; what was said meanwhile is lost."""
        ...


class _Channel:
    def __init__(self) -> None:
        self.hearers: list[Hearer] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Listener:
    """Channels of one loop.

    Parameters:
        location: Where the server is.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._channels: dict[bytes, _Channel] = {}
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault = ""

    async def listen(self, channel: bytes, hearer: Hearer) -> None:
        """Hear a channel; return when nothing said there from now on is missed.

        Raises:
            UnavailableError: The server is away; the channel is not listened to.
        """
        one = self._channels.get(channel)
        if one is None:
            one = self._channels[channel] = _Channel()
            self._begin(channel)
        if hearer not in one.hearers:
            one.hearers.append(hearer)
        try:
            async with asyncio.timeout(self._location.options.connect_timeout):
                await asyncio.shield(one.ready)
        except TimeoutError:
            await self.unlisten(channel, hearer)
            raise UnavailableError(self._fault or f"{self._location.printed}: no answer") from None
        except BaseException:
            await self.unlisten(channel, hearer)
            raise

    async def unlisten(self, channel: bytes, hearer: Hearer) -> None:
        """Hear a channel no more."""
        one = self._channels.get(channel)
        if one is None or hearer not in one.hearers:
            return
        one.hearers.remove(hearer)
        if not one.hearers:
            del self._channels[channel]
            if self._connection is not None:
                with contextlib.suppress(UnavailableError):
                    self._connection.send(b"UNSUBSCRIBE", channel)

    def _begin(self, channel: bytes) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="qtasks-redis-listen")
        elif self._connection is not None:
            with contextlib.suppress(UnavailableError):
                self._connection.send(b"SUBSCRIBE", channel)

    async def stop(self) -> None:
        """Hear nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._channels.clear()

    def forget(self) -> Any:
        """Let go, in a forked child; return what must never be collected."""
        connection, self._connection = self._connection, None
        task, self._task = self._task, None
        channels, self._channels = self._channels, {}
        return (None if connection is None else connection.forget()), task, channels

    async def _run(self) -> None:
        backoff = Backoff(LONGEST_WAIT_S)
        while True:
            try:
                self._connection = connection = await dial(self._location, self._pushed)
                if self._channels:
                    connection.send(b"SUBSCRIBE", *self._channels)
                backoff.reset()
                self._fault = ""
                await self._watch(connection)
            except QTasksError as error:
                if str(error) != self._fault:
                    self._fault = str(error)
                    logger.warning("listening: %s", error)
            finally:
                connection_lost, self._connection = self._connection, None
                if connection_lost is not None:
                    connection_lost.cut("it listens no more")
            for one in list(self._channels.values()):
                for hearer in list(one.hearers) if one.ready.done() else ():
                    hearer.lost()
            await backoff.wait()

    async def _watch(self, connection: Connection) -> None:
        """Return when the connection is lost."""
        every_s = self._location.options.health_check or None
        while connection.is_open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await asyncio.shield(connection.lost)
                    return
            with contextlib.suppress(SendUnknownError):
                await connection.command(b"PING")

    def _pushed(self, message: list[Any]) -> None:
        kind, channel = message[0], message[1]
        one = self._channels.get(channel)
        if one is None:
            return
        if kind == b"message":
            for hearer in list(one.hearers):
                hearer.heard(message[2])
        elif kind == b"subscribe":
            for hearer in list(one.hearers) if one.ready.done() else ():
                hearer.again()
            if not one.ready.done():
                one.ready.set_result(None)
