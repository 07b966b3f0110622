"""A TCP proxy that disturbs what passes between clients and a server: it cuts, refuses, holds, delays, swallows."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from qtasks_testing._passage import PATTERN_BYTES, Connection, Passage, ProxyCut, Way
from qtasks_testing.servers import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["ProxyCut", "TcpProxy"]

_TIMEOUT_S = 10.0


class TcpProxy:
    """Stand between clients and a server, on an event loop in a thread of its own; a context manager.

    So a test may block, await, or have its clients in other processes. `with TcpProxy(server.port) as proxy:` passes
    everything on, and clients connect to `proxy.port`. What a method says is so when it returns.

    Parameters:
        port: Of the server.
        host: Of the server.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self.host = HOST
        self.port = free_port()
        self._server_at = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passage = Passage()

    def __repr__(self) -> str:
        host, port = self._server_at
        return f"<TcpProxy port {self.port} to {host}:{port}, {self.connections} connections>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ its life

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self.accept()
        return self

    def close(self) -> None:
        """Cut everything and end; harmless when repeated."""
        if not self._thread.is_alive():
            return
        self.refuse()
        self.cut()
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    # ------------------------------------------------------------ connections

    def cut(self) -> int:
        """Reset all connections and return how many there were; new ones are welcome."""
        return int(self._do(self._cut, lambda _: True))

    def refuse(self) -> None:
        """Refuse new connections, as if nothing listened; those that are open stay, until `cut()`."""
        self._do(self._stop_listening)

    def accept(self) -> None:
        """Accept connections, on the same port."""
        self._do(self._listen)

    # ------------------------------------------------------------ what passes

    def hold(self) -> None:
        """Pass nothing on, in both directions, and lose nothing: the network is cut, and nobody is told."""
        self._do(self._passage.open.clear)

    def release(self) -> None:
        """Pass on what was held, and go on."""
        self._do(self._passage.open.set)

    def delay(self, seconds: float) -> None:
        """Pass each piece on that many seconds later, in both directions; 0 ends it."""
        self._do(setattr, self._passage, "delay_s", seconds)

    def swallow_replies(self) -> None:
        """Pass requests on and drop what the server answers, until `pass_replies()`; nothing is cut."""
        self._do(setattr, self._passage, "swallows", True)

    def pass_replies(self) -> None:
        """Pass answers on again; connections that have lost some are cut: what comes next would answer another."""
        self._do(setattr, self._passage, "swallows", False)
        self._do(self._cut, lambda one: one.lost_replies)

    # ------------------------------------------------------------ cuts to come

    def cut_requests(self, pattern: bytes = b"", after_bytes: int = 0) -> ProxyCut:
        """Cut a connection, once, in the middle of what it sends to the server; what is before passes.

        Parameters:
            pattern: What to wait for, up to 1,024 bytes; empty: the next bytes of any connection.
            after_bytes: How many bytes behind the pattern still pass.
        """
        return self._arm(pattern, "requests", after_bytes)

    def cut_replies(self, pattern: bytes = b"", after_bytes: int = 0) -> ProxyCut:
        """Cut a connection, once, in the middle of what the server answers; what is before passes.

        Parameters:
            pattern: What to wait for, up to 1,024 bytes; empty: the next bytes on any connection.
            after_bytes: How many bytes behind the pattern still pass.
        """
        return self._arm(pattern, "replies", after_bytes)

    def lose_reply(self, pattern: bytes = b"") -> ProxyCut:
        """Pass a request on, drop its answer when it comes, and cut, once: it is done, and nobody has heard of it.

        Parameters:
            pattern: What the request has in it, up to 1,024 bytes; empty: the next one on any connection.
        """
        return self._arm(pattern, "requests", 0, loses_reply=True)

    def _arm(self, pattern: bytes, way: Way, after_bytes: int, *, loses_reply: bool = False) -> ProxyCut:
        if len(pattern) > PATTERN_BYTES:
            raise ValueError(f"expected a pattern of up to {PATTERN_BYTES} bytes, got {len(pattern)}")
        cut = ProxyCut(way, pattern, after_bytes, loses_reply=loses_reply)
        self._do(self._passage.cuts.append, cut)
        return cut

    # ------------------------------------------------------------ on the loop

    def _do(self, what: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the loop, and wait for what it returns."""

        async def called() -> Any:
            result = what(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, self.host, self.port)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            server = await asyncio.open_connection(*self._server_at)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self._passage, (reader, writer), server)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _cut(self, wanted: Callable[[Connection], bool]) -> int:
        cut = [one for one in self._connections if wanted(one)]
        for one in cut:
            one.reset()
            self._connections.discard(one)
        return len(cut)

    async def _end(self) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
