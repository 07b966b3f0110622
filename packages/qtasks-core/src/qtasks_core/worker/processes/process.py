"""One process of a pool, seen by its worker: started, ready, busy with one run, and dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, cast

from qtasks_core.errors import ConfigError, TaskProcessError
from qtasks_core.exits import how_it_ended
from qtasks_core.worker.processes.failures import raised
from qtasks_core.worker.processes.logs import handle
from qtasks_core.worker.processes.messages import (
    WINDOW,
    Credit,
    Failure,
    LogLine,
    Mark,
    Refused,
    Result,
    Splitter,
    Value,
    decode_from_child,
    encode,
)

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Awaitable, Callable

    from qtasks_core.worker.processes.messages import Call, FromChild, Setup, ToChild

__all__ = ["PoolProcess"]

_LAST_WORDS_S = 1.0
"""Between the end of the connection and the end of the process; longer apart, one is not waited for."""


class PoolProcess(asyncio.Protocol):
    """A process that runs one task after the other.

    Parameters:
        process: Just started.
        connection: To it.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        self._inbox: deque[FromChild] = deque()
        self._news = asyncio.Event()
        self._is_cut = False
        self._mark: Callable[[Mark], None] | None = None
        self.started_at = self._loop.time()
        self.is_busy = False
        self.runs = 0
        """How many it has begun."""
        self.ended: asyncio.Future[int] = self._loop.create_future()
        """Its exit code; negative: the signal."""
        threading.Thread(target=self._wait, name=f"qtasks-wait-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be given a run."""
        return not self._is_cut and not self.ended.done()

    async def connect(self, setup: Setup) -> None:
        """Wait until it has imported what it needs.

        Raises:
            ConfigError: A function is not there.
            TaskProcessError: It died.
        """
        await self._loop.create_connection(lambda: self, sock=self._connection)
        self._send(setup)
        message = await self._next()
        if isinstance(message, Refused):
            raise ConfigError(f"a process for tasks cannot work: {message.reason}")

    async def run(self, call: Call, take: Callable[[bytes], Awaitable[None]], mark: Callable[[Mark], None]) -> bytes:
        """Run a task; return what it returned, encoded. Who is cancelled here leaves the process busy.

        Parameters:
            call: The task.
            take: Gets each value that it yields; it goes on while few are not taken yet.
            mark: Gets each progress mark.

        Raises:
            TaskProcessError: The process died.
            BaseException: What the task raised, see `failures.raised`.
        """
        self.is_busy, self._mark = True, mark
        self.runs += 1
        self._send(call)
        taken = 0
        while isinstance(message := await self._next(), Value):
            await take(message.raw)
            taken += 1
            if taken % (WINDOW // 2) == 0:
                self._send(Credit(WINDOW // 2))
        self.is_busy, self._mark = False, None
        if isinstance(message, Failure):
            raise raised(message)
        return cast("Result", message).raw

    def leave(self) -> None:
        """Let it end by itself."""
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """Kill it, with all that it has started."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a zombie
                os.killpg(self.pid, signal.SIGKILL)

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take messages: what is asked for waits, the rest is handed on."""
        for raw in self._splitter.feed(data):
            message = decode_from_child(raw)
            if isinstance(message, LogLine):
                handle(message)
            elif not isinstance(message, Mark):
                self._inbox.append(message)
                self._news.set()
            elif self._mark is not None:
                self._mark(message)

    def connection_lost(self, _error: Exception | None) -> None:
        """Nothing more will come; a process that goes on all the same is killed."""
        self._is_cut = True
        self._news.set()
        self._loop.call_later(_LAST_WORDS_S, self.kill)

    # ------------------------------------------------------------ its end

    def _wait(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        self.ended.set_result(code)
        self._news.set()
        if self._transport is None:
            self._connection.close()
        else:  # what it has forked may hold the connection open
            self._loop.call_later(_LAST_WORDS_S, self._transport.abort)

    async def _next(self) -> FromChild:
        while not self._inbox:
            if self._is_cut and self.ended.done():
                raise TaskProcessError(f"the process that ran the task {how_it_ended(self.ended.result())}")
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()

    def _send(self, message: ToChild) -> None:
        if self._transport is not None:
            self._transport.write(encode(message))
