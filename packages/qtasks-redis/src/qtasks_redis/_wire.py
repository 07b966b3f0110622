"""One connection to Redis: commands are pipelined, replies come in order, pushes in between (RESP3)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import hiredis

from qtasks_core.errors import SendUnknownError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Argument", "Connection"]

Argument = bytes | str | int | float
NOTHING = object()  # a reply may be None or False


class Connection(asyncio.Protocol):
    """Pairs commands with replies; lost for good once it is lost.

    Nothing waits for ever: when there are commands without a reply, and for *timeout_s* nothing at all came and nothing
    went, the connection is cut, and with it all that waits.

    Parameters:
        server: Its URL, fit to print.
        timeout_s: Seconds to wait for a reply.
        pushed: Gets each message that answers no command.
    """

    def __init__(self, server: str, timeout_s: float, pushed: Callable[[list[Any]], None] | None = None) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._pushed = pushed
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=NOTHING)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._written = self._unsent = self._gone = 0
        self._why = "it was closed"
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is lost."""

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def command(self, *args: Argument) -> asyncio.Future[Any]:
        """Send a command; the future has its reply, or raises.

        A reply that nobody waits for any more is dropped, so the future may be cancelled.

        Raises:
            UnavailableError: The connection is lost: nothing was sent.
            SendUnknownError: (the future) No reply came.
            hiredis.ReplyError: (the future) The server answered with an error.
        """
        self.send(*args)
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._waiting:
            self._heard = self._loop.time()
        self._waiting.append(future)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        return future

    def send(self, *args: Argument) -> None:
        """Send a command that is answered by pushes only, such as SUBSCRIBE.

        Raises:
            UnavailableError: The connection is lost: nothing was sent.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise UnavailableError(f"{self._server}: the connection is lost: {self._why}")
        data = hiredis.pack_command(args)  # type: ignore[arg-type]  # its stub knows one argument only
        self._written += len(data)
        transport.write(data)

    def cut(self, why: str) -> None:
        """Close the connection at once; what waits for a reply has none."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._why = why
        transport.abort()
        self._end()

    def forget(self) -> Any:
        """Let go, in a forked child, without touching the parent's socket; return what must never be collected."""
        transport, self._transport = self._transport, None
        return transport, self._waiting, self._timer, self.lost

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being derived from it

    def data_received(self, data: bytes) -> None:
        """Hand out what came; called by the loop."""
        self._heard = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not NOTHING:
                self._hand_out(reply)
        except hiredis.ProtocolError as error:
            self.cut(f"not the protocol of Redis: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the loop."""
        if self._transport is not None:
            self._transport = None
            self._why = str(exc) if exc is not None else "the server closed it"
            self._end()

    def _hand_out(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if self._pushed is not None:
                self._pushed(reply)
            return
        if not self._waiting:  # an error before the connection is closed, such as "max number of clients reached"
            self.cut(str(reply))
            return
        future = self._waiting.popleft()
        if future.done():
            return
        if isinstance(reply, hiredis.ReplyError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _look(self) -> None:
        """Cut the connection when the server is silent."""
        self._timer = None
        if self._transport is None or not self._waiting:
            return
        if self._goes_on(self._transport.get_write_buffer_size()):
            self._heard = self._loop.time()
        left_s = self._heard + self._timeout_s - self._loop.time()
        if left_s <= 0:
            self.cut(f"no answer within {self._timeout_s:g} s")
        else:
            self._timer = self._loop.call_later(left_s, self._look)

    def _goes_on(self, unsent: int) -> bool:
        """Tell whether the system took some of a backlog since the last look: a large command goes slowly."""
        gone, was_unsent, was_gone = self._written - unsent, self._unsent, self._gone
        self._unsent, self._gone = unsent, gone
        return gone > was_gone if was_unsent else unsent > 0

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(SendUnknownError(f"{self._server}: no reply came: {self._why}"))
        if not self.lost.done():
            self.lost.set_result(None)
