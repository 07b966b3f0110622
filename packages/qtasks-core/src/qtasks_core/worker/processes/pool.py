"""The processes of one executor: started when they are needed, bounded, replaced when one is gone."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from typing import TYPE_CHECKING

from qtasks_core.errors import ConfigError, TaskProcessError
from qtasks_core.exits import how_it_ended
from qtasks_core.supervisor import Backoff
from qtasks_core.worker.processes.process import PoolProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qtasks_core.worker.processes.launch import Launcher

__all__ = ["ProcessPool"]

logger = logging.getLogger("qtasks.worker")

_STOP_S = 2.0


class ProcessPool:
    """Lends processes, each to one run at a time.

    Parameters:
        launcher: Starts them.
        most: Processes at the same time.
        most_runs: Runs after which a process makes room for a fresh one; None: it lives as long as the pool.
    """

    def __init__(self, launcher: Launcher, most: int, most_runs: int | None) -> None:
        self._launcher = launcher
        self._most = most
        self._most_runs = most_runs
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # not that of the run which needs a process
        self._members: set[PoolProcess] = set()
        """Starting, idle or busy: those that count."""
        self._leaving: set[PoolProcess] = set()
        """Told to end, or killed."""
        self._idle: list[PoolProcess] = []
        self._waiting: deque[asyncio.Future[PoolProcess]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._backoff = Backoff()
        self._is_stopping = False

    async def start(self) -> None:
        """Start the first process, and wait until it is ready.

        Raises:
            ConfigError: It cannot work.
        """
        try:
            process = self._launch()
            await process.connect(self._launcher.setup)
        except (OSError, RuntimeError, TaskProcessError) as error:
            raise ConfigError(f"the first process for tasks could not start: {error}") from error
        self._offer(process)

    async def stop(self) -> None:
        """Let idle processes end, kill the others, and wait for their ends."""
        self._is_stopping = True
        if self._pause is not None:
            self._pause.cancel()
        for process in list(self._members):
            self._part_with(process, kill=process not in self._idle)
        self._idle.clear()
        for waiter in self._waiting:
            waiter.cancel()
        await self._wait_for_ends()
        for process in self._leaving:
            process.kill()
        await self._wait_for_ends()

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[PoolProcess]:
        """Give a process for one run; one that is still busy with it afterwards is killed, and replaced."""
        process = await self._take()
        while not process.is_alive:  # it died while it waited, which is not the fault of who comes next
            self._take_back(process)
            process = await self._take()
        try:
            yield process
        finally:
            self._take_back(process)

    # ------------------------------------------------------------ who has which

    async def _take(self) -> PoolProcess:
        if self._is_stopping:
            raise RuntimeError("the processes for tasks are stopped")
        if self._idle:
            return self._idle.pop()  # the one that has worked last is the warmest
        waiter: asyncio.Future[PoolProcess] = self._loop.create_future()
        self._waiting.append(waiter)
        self._grow_for_waiting()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._take_back(waiter.result())
            else:
                self._waiting.remove(waiter)
            raise

    def _take_back(self, process: PoolProcess) -> None:
        if process not in self._members:
            return
        if process.is_busy or not process.is_alive:
            self._part_with(process, kill=True)
        elif self._most_runs is not None and process.runs >= self._most_runs:
            self._part_with(process, kill=False)
        else:
            self._offer(process)

    def _offer(self, process: PoolProcess) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(process)
                return
        self._idle.append(process)

    # ------------------------------------------------------------ beginning and end

    def _grow_for_waiting(self) -> None:
        if len(self._waiting) > len(self._starting):
            self._grow()

    def _grow(self) -> None:
        """Start one more where that is allowed; after one that could not start, a while later."""
        if not self._is_stopping and self._pause is None and len(self._members) < self._most:
            self._context.copy().run(self._start_one)

    def _start_one(self) -> None:
        try:
            process = self._launch()
        except (OSError, RuntimeError) as error:  # no room for a process, or for a thread that waits for its end
            self._grow_later(f"a process for tasks could not start: {error}", 0.0)
            return
        task = self._loop.create_task(self._bring_up(process))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _launch(self) -> PoolProcess:
        started, connection = self._launcher.start()
        process = PoolProcess(started, connection)
        self._members.add(process)
        process.ended.add_done_callback(lambda _: self._has_ended(process))
        return process

    async def _bring_up(self, process: PoolProcess) -> None:
        try:
            await process.connect(self._launcher.setup)
        except (ConfigError, OSError, TaskProcessError) as error:
            if process in self._members:
                self._members.discard(process)
                self._leaving.add(process)
                process.kill()
            self._grow_later(f"a process for tasks could not start: {error}", 0.0)
        else:
            self._offer(process)

    def _grow_later(self, why: str, lived_s: float) -> None:
        """Start one a while later, so that processes that die at once do not take all the time there is."""
        if self._is_stopping or self._pause is not None:
            return
        pause_s = self._backoff.after(lived_s)
        logger.error("%s; another one starts in %g s", why, pause_s)
        self._pause = self._loop.call_later(pause_s, self._grow_again)

    def _grow_again(self) -> None:
        self._pause = None
        self._grow()
        self._grow_for_waiting()

    def _part_with(self, process: PoolProcess, *, kill: bool) -> None:
        """Let a process go, and replace it: the pool stays as warm as it was."""
        self._members.discard(process)
        self._leaving.add(process)
        if kill:
            process.kill()
        else:
            process.leave()
        self._grow()

    def _has_ended(self, process: PoolProcess) -> None:
        self._leaving.discard(process)
        if process not in self._members:
            return
        self._members.discard(process)
        if process not in self._idle:
            self._grow()
            return
        self._idle.remove(process)
        how, lived_s = how_it_ended(process.ended.result()), self._loop.time() - process.started_at
        self._grow_later(f"an idle process for tasks {how}", lived_s)

    async def _wait_for_ends(self) -> None:
        if self._leaving:
            await asyncio.wait([process.ended for process in self._leaving], timeout=_STOP_S)
