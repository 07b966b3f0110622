"""A worker inside a program that has other work too: `app.worker()` of both faces."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self

from qtasks_core.worker.life import WorkerLife

if TYPE_CHECKING:
    from types import TracebackType

    from qtasks_core.app import App
    from qtasks_core.config import RunOptions

__all__ = ["BlockingEmbeddedWorker", "EmbeddedWorker"]

logger = logging.getLogger("qtasks.starter")


class EmbeddedWorker:
    """A worker on the running loop, from `async with app.worker():` to the end of the block.

    It installs no signal handlers. At the end, also after an error or a cancellation, tasks that run may finish within
    the shutdown timeout; what is left is given back to other workers. It may be entered again after that.

    Parameters:
        app: The app whose tasks it runs.
        options: What differs from the app's settings.
    """

    def __init__(self, app: App, options: RunOptions) -> None:
        self._app = app
        self._options = options
        self._life: WorkerLife | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def name(self) -> str | None:
        """The worker's name; None while it does not run."""
        return None if self._life is None else self._life.name

    @property
    def running(self) -> int:
        """Tasks that it holds now."""
        return 0 if self._life is None else self._life.worker.running

    async def start(self) -> None:
        """Start, and return when it takes tasks; waits, with warnings in the log, for a server that is away.

        Raises:
            RuntimeError: It runs already.
            ConfigError: A part cannot work as it is set up.
            Exception: What a plugin raised that was told of the start.
        """
        if self._main is not None and not self._main.done():
            raise RuntimeError("this worker runs already; app.worker() makes another one")
        life = self._life = WorkerLife(self._app, self._options)
        life.worker.on_exhausted = _advise
        ready = asyncio.Event()
        main = self._main = asyncio.create_task(self._run(life, ready), name=f"qtasks worker {life.name}")
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([main, waiting], return_when=asyncio.FIRST_COMPLETED)
            if main.done():
                main.result()
        except BaseException:
            life.ask_to_stop()
            await _outlast(main)
            raise
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        """Let running tasks finish within the shutdown timeout, give back the rest, close; nothing where it is stopped.

        A cancellation meanwhile is raised when that is done: what runs would be charged with a crash otherwise.
        """
        life, main = self._life, self._main
        if life is None or main is None:
            return
        life.ask_to_stop()
        try:
            await _outlast(main)
            main.result()
        finally:
            self._life = self._main = None

    async def _run(self, life: WorkerLife, ready: asyncio.Event) -> None:
        async with life.connected() as is_up:
            if is_up:
                async with life.working():
                    ready.set()
                    await life.stopping.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class BlockingEmbeddedWorker:
    """A worker in the thread of the blocking face's own loop, from `with app.worker():` to the end of the block.

    See `EmbeddedWorker`; `app.stop()` ends it too.

    Parameters:
        app: The app whose tasks it runs.
        options: What differs from the app's settings.
    """

    def __init__(self, app: App, options: RunOptions) -> None:
        self._app = app
        self._aio = EmbeddedWorker(app, options)

    @property
    def name(self) -> str | None:
        """The worker's name; None while it does not run."""
        return self._aio.name

    @property
    def running(self) -> int:
        """Tasks that it holds now."""
        return self._aio.running

    def start(self) -> None:
        """Start, and return when it takes tasks; see `EmbeddedWorker.start`.

        Raises:
            BlockingCallError: This thread runs an event loop; there it is `async with app.aio.worker():`.
        """
        self._app.portal.call(self._aio.start, hint="app.aio.worker()")

    def stop(self) -> None:
        """Let running tasks finish within the shutdown timeout, give back the rest; see `EmbeddedWorker.stop`."""
        self._app.portal.call(self._aio.stop, hint="app.aio.worker()")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


async def _outlast(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task; a cancellation is raised after that."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _advise() -> None:
    logger.error("an embedded worker cannot start its process anew: restart the program")
