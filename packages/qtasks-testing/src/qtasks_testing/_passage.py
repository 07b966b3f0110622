"""What passes through a `TcpProxy`: one pair of connections, and the disturbances that all of them share."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Literal

__all__ = ["Connection", "Passage", "ProxyCut", "Way"]

Way = Literal["requests", "replies"]
PATTERN_BYTES = 1024
_CHUNK_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)


class ProxyCut:
    """A cut that is to come, once: at a place in what passes.

    Parameters:
        way: What is watched, bytes to the server ("requests") or from it ("replies").
        pattern: What it waits for; empty: any byte.
        after_bytes: How many bytes behind the pattern still pass, on the same connection.
        loses_reply: Whether requests pass, the answer to them is dropped when it comes, and then the cut is made.
    """

    def __init__(self, way: Way, pattern: bytes, after_bytes: int, *, loses_reply: bool = False) -> None:
        self.way = way
        self.pattern = pattern
        self.after_bytes = after_bytes
        self.loses_reply = loses_reply
        self._happened = threading.Event()

    def __repr__(self) -> str:
        state = "happened" if self.happened else "to come"
        return f"<ProxyCut of {self.way} at {self.pattern!r} + {self.after_bytes} bytes, {state}>"

    @property
    def happened(self) -> bool:
        """Whether a connection was cut."""
        return self._happened.is_set()

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait until a connection was cut.

        Raises:
            AssertionError: Nothing passed in time that it waits for.
        """
        if not self._happened.wait(timeout_s):
            raise AssertionError(f"not within {timeout_s} s: {self!r}")

    def happen(self) -> None:
        """Tell those who wait; called by the connection that was cut."""
        self._happened.set()

    def end_in(self, before: bytes, chunk: bytes) -> int | None:
        """Return where the pattern ends in *chunk*, which follows on *before*; None when it is not there."""
        overlap = before[len(before) - len(self.pattern) + 1 :] if len(self.pattern) > 1 else b""
        found = (overlap + chunk).find(self.pattern)
        return None if found < 0 else found + len(self.pattern) - len(overlap)


class Passage:
    """What is done to everything that passes, now."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.delay_s = 0.0
        self.swallows = False
        self.cuts: list[ProxyCut] = []

    def take_cut(self, way: Way, before: bytes, chunk: bytes) -> tuple[ProxyCut, int] | None:
        """Return the first cut that is due in *chunk*, which is done with, and where; None when there is none."""
        for cut in self.cuts:
            end = cut.end_in(before, chunk) if cut.way == way else None
            if end is not None:
                self.cuts.remove(cut)
                return cut, end
        return None


class Connection:
    """A client's connection and the one to the server that belongs to it.

    Parameters:
        passage: What is done to everything that passes.
        client: From and to the client.
        server: From and to the server.
    """

    def __init__(
        self,
        passage: Passage,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.lost_replies = False
        self._passage = passage
        self._client, self._server = client, server
        self._loses: ProxyCut | None = None

    async def run(self) -> None:
        """Pass everything on until one side has ended or was cut."""
        requests = asyncio.create_task(self._pass("requests", self._client[0], self._server[1]))
        replies = asyncio.create_task(self._pass("replies", self._server[0], self._client[1]))
        try:
            await asyncio.wait((requests, replies), return_when=asyncio.FIRST_COMPLETED)
        finally:
            requests.cancel()
            replies.cancel()
            await asyncio.wait((requests, replies))
            self._client[1].close()
            self._server[1].close()

    def reset(self) -> None:
        """Cut both sides now; what is under way is lost."""
        for writer in (self._client[1], self._server[1]):
            one: socket.socket = writer.get_extra_info("socket")
            if not writer.transport.is_closing():
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _pass(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = b""
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._passage.open.wait()
                if self._passage.delay_s:
                    await asyncio.sleep(self._passage.delay_s)
                due = self._passage.take_cut(way, before, chunk)
                before = (before + chunk)[-PATTERN_BYTES:]
                if way == "replies" and self._drops_replies():
                    continue
                if due is not None and not due[0].loses_reply:
                    await self._cut(due[0], chunk, due[1] + due[0].after_bytes, reader, writer)
                    return
                self._loses = due[0] if due is not None else self._loses
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            return

    def _drops_replies(self) -> bool:
        if self._loses is not None:
            self.reset()
            self._loses.happen()
            return True
        self.lost_replies = self.lost_replies or self._passage.swallows
        return self._passage.swallows

    async def _cut(
        self, cut: ProxyCut, chunk: bytes, still: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass as many bytes on as still pass, and cut."""
        while chunk and still > 0:
            writer.write(chunk[:still])
            await writer.drain()
            still -= len(chunk)
            chunk = await reader.read(_CHUNK_BYTES) if still > 0 else b""
        writer.write_eof()  # what was passed on arrives; a reset could overtake it
        cut.happen()
