"""One worker's life on the running loop, whoever began it: connect, work until a stop is asked for, drain, close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from qtasks_core.naming import new_worker_name
from qtasks_core.worker.announcer import Announcer
from qtasks_core.worker.worker import DRAIN_OVERHEAD_S, DefaultWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Any

    from qtasks_core.app import App
    from qtasks_core.config import RunOptions

__all__ = ["WorkerLife"]

logger = logging.getLogger("qtasks.starter")


class WorkerLife:
    """A worker with an engine of its own; where its loop has no engine yet, clients on that loop use it too.

    Parameters:
        app: The app whose tasks it runs.
        options: What differs from the app's settings.

    Raises:
        ConfigError: A component or an executor cannot be made.
    """

    def __init__(self, app: App, options: RunOptions) -> None:
        config = app.config
        self.name = options.worker_name or new_worker_name()
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        """Set when a stop is asked for."""
        self._app = app
        self._timeout_s = config.shutdown_timeout if options.shutdown_timeout is None else options.shutdown_timeout
        self._closed = asyncio.Event()
        self.engine = app.new_engine(self.name)
        try:
            self.worker = DefaultWorker(  # before its broker starts, whose plugins are told of it
                app,
                self.engine,
                name=self.name,
                queues=options.queues or config.queues,
                concurrency=options.concurrency or config.concurrency,
                queue_concurrency={**config.queue_concurrency, **(options.queue_concurrency or {})},
            )
        except BaseException:
            app.leave(self)
            app.triggers.thaw(self.engine)
            raise
        app.enter(self)

    @property
    def longest_stop_s(self) -> float:
        """Seconds that a stop may take: the tasks' time, and what a drain takes beyond it."""
        return self._timeout_s + DRAIN_OVERHEAD_S

    def ask_to_stop(self) -> None:
        """Ask for the end; may be called from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            self.loop.call_soon_threadsafe(self.stopping.set)

    async def stopped(self) -> None:
        """Ask for the end and wait for it."""
        self.stopping.set()
        await self._closed.wait()

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[bool]:
        """Start the components, however long their server is away; stop them at the end.

        Yields False when a stop was asked for before they were up.
        """
        try:
            yield await self._unless_stopped(self.engine.start(control=True))
        finally:
            self._app.leave(self)
            await self.engine.stop()
            self._closed.set()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Take tasks; at the end let those that run finish within the shutdown timeout and give the others back."""
        await self.worker.start()
        announcer = Announcer(self._app, self.engine, self.worker)
        announcing = asyncio.create_task(announcer.run())
        try:
            yield
        finally:
            logger.info("stopping: %d tasks are running", self.worker.running)
            await self._tell_of_stop()
            await self.worker.drain(self._timeout_s)
            announcing.cancel()
            await asyncio.wait([announcing])
            await announcer.leave()
            await self.worker.stop()
            if self.worker.unwritten:
                logger.error("%d outcomes could not be written: their tasks will run again", self.worker.unwritten)

    async def _tell_of_stop(self) -> None:
        triggers = self._app.triggers
        if chain := triggers.of("qtasks_stop"):
            await triggers.notify(chain, qtasks=self._app.face, starter=self._app.starter)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for *work*; return False when a stop was asked for before it was done."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return False
            task.result()
            return True
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.wait([task, stop])
