"""The default Starter: one worker process, its signals, and the order of start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from qtasks_core.loops import close_loop
from qtasks_core.parent import ParentWatch
from qtasks_core.stop_signals import StopSignals
from qtasks_core.supervisor import EXIT_RESTART
from qtasks_core.worker.life import WorkerLife
from qtasks_core.worker.wear import Wear

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from qtasks_core.app import App
    from qtasks_core.config import RunOptions

__all__ = ["DefaultStarter", "loop_factory"]

logger = logging.getLogger("qtasks.starter")

_EXIT_UNWRITTEN = 1
_SIGNAL_EXIT = 128


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's factory when it is installed, else asyncio's."""
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class DefaultStarter:
    """Runs one worker in this process until a signal or `App.stop_worker` ends it."""

    def run(self, app: App, options: RunOptions) -> int:
        """Run a worker; return the exit code: 0 after a clean stop, 1 when something could not be written.

        Parameters:
            app: The app whose tasks it runs.
            options: What differs from the app's settings.
        """
        runner = asyncio.Runner(loop_factory=loop_factory())
        try:
            return runner.run(_Process(app, options).main())
        finally:
            close_loop(runner.get_loop())


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """Keep what an app has loaded out of garbage collections: it stays, and each full one would walk over all of it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Process:
    """The life of one worker process."""

    def __init__(self, app: App, options: RunOptions) -> None:
        self._app = app
        self._options = options
        self._is_exhausted = False
        self._asked = StopSignals()
        self._helpers: set[asyncio.Task[Any]] = set()

    async def main(self) -> int:
        app, loop = self._app, asyncio.get_running_loop()
        life = self._life = WorkerLife(app, self._options)
        life.worker.on_exhausted = self._restart
        self._watch_wear(life)
        self._watch_signals(loop)
        self._watch_parent()
        app.portal.lend(loop)
        try:
            async with life.connected() as is_up:
                if not is_up:
                    return 0
                with _frozen_heap():
                    return await self._work(life)
        finally:
            app.portal.lend(None)
            await app.close_engine()
            for task in self._helpers:
                task.cancel()

    async def _work(self, life: WorkerLife) -> int:
        """Work until a stop is asked for, or a plugin stops the start; return the exit code."""
        triggers, starter = self._app.triggers, self._app.starter
        async with life.working():
            await triggers.start(triggers.of("starter_start"), starter=starter)
            await life.stopping.wait()
        await triggers.notify(triggers.of("starter_stop"), starter=starter)
        if self._is_exhausted:
            return EXIT_RESTART
        if life.worker.unwritten:
            return _EXIT_UNWRITTEN
        logger.info("stopped cleanly")
        return 0

    def _restart(self) -> None:
        self._is_exhausted = True
        self._life.stopping.set()

    def _watch_wear(self, life: WorkerLife) -> None:
        options = self._options
        if options.max_tasks is None and options.max_rss is None:
            return
        wear = Wear(options.max_tasks, options.max_rss, self._worn)
        life.worker.on_run_over = wear.ran
        self._start_helper(wear.watch())

    def _worn(self, why: str) -> None:
        logger.info("%s: a restart is due", why)
        self._restart()

    def _start_helper(self, work: Coroutine[Any, Any, None]) -> None:
        self._helpers.add(asyncio.get_running_loop().create_task(work))

    def _watch_parent(self) -> None:
        if self._options.parent is not None:
            self._start_helper(self._stop_with(self._options.parent))

    async def _stop_with(self, parent: int) -> None:
        await ParentWatch(parent).wait()
        logger.warning("the parent process is gone: stopping")
        self._life.stopping.set()

    def _watch_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        if threading.current_thread() is not threading.main_thread():
            logger.info("not on the main thread: no signal handlers are installed; stop it with app.stop()")
            return
        stopping = [signal.SIGTERM, signal.SIGINT]
        if self._options.supervised:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor's word counts
            stopping.remove(signal.SIGINT)
        for number in stopping:
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda got, _frame: loop.call_soon_threadsafe(self._on_signal, got))

    def _on_signal(self, number: int) -> None:
        heard = self._asked.hear(number)
        if heard == "stop":
            logger.info("%s: stopping", signal.Signals(number).name)
            self._life.stopping.set()
        elif heard == "now" and not self._options.supervised:  # a supervisor says SIGKILL when it means it
            logger.warning("second signal: exit at once")
            os._exit(_SIGNAL_EXIT + number)
