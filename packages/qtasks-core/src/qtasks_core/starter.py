"""The default Starter: one worker process, its signals, and the order of start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from qtasks_core.loops import close_loop
from qtasks_core.naming import new_worker_name
from qtasks_core.parent import ParentWatch
from qtasks_core.stop_signals import StopSignals
from qtasks_core.supervisor import EXIT_RESTART
from qtasks_core.worker.announcer import Announcer
from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qtasks_core.app import App
    from qtasks_core.config import RunOptions
    from qtasks_core.engine import Engine

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


class _Process:
    """The life of one worker process."""

    def __init__(self, app: App, options: RunOptions) -> None:
        self._app = app
        self._options = options
        self._name = options.worker_name or new_worker_name()
        self._stopping = asyncio.Event()
        self._is_exhausted = False
        self._asked = StopSignals()
        self._helpers: set[asyncio.Task[Any]] = set()

    async def main(self) -> int:
        app, loop = self._app, asyncio.get_running_loop()
        self._watch_signals(loop)
        self._watch_parent()
        engine = app.new_engine(self._name)
        app.portal.lend(loop)
        app.on_stop_worker(lambda: loop.call_soon_threadsafe(self._stopping.set))
        try:
            return await self._run(engine)
        finally:
            app.on_stop_worker(None)
            app.portal.lend(None)
            await app.close_engine()
            for task in self._helpers:
                task.cancel()

    async def _run(self, engine: Engine) -> int:
        worker = self._new_worker(engine)  # before its broker starts, whose plugins are told of it
        if not await self._unless_stopped(engine.start(control=True)):
            return 0
        await worker.start()
        await self._work(worker, Announcer(self._app, engine, worker))
        if self._is_exhausted:
            return EXIT_RESTART
        if worker.unwritten:
            logger.error("%d outcomes could not be written: their tasks will run again", worker.unwritten)
            return _EXIT_UNWRITTEN
        logger.info("stopped cleanly")
        return 0

    async def _work(self, worker: DefaultWorker, announcer: Announcer) -> None:
        """Let a worker that has started work until a stop is asked for, or a plugin stops the start."""
        triggers, starter = self._app.triggers, self._app.starter
        announcing = self._start_helper(announcer.run())
        try:
            await triggers.start(triggers.of("starter_start"), starter=starter)
            await self._stopping.wait()
        finally:
            logger.info("stopping: %d tasks are running", worker.running)
            timeout_s = self._options.shutdown_timeout
            await worker.drain(self._app.config.shutdown_timeout if timeout_s is None else timeout_s)
            announcing.cancel()
            await asyncio.wait([announcing])
            await announcer.leave()
            await worker.stop()
        await triggers.notify(triggers.of("starter_stop"), starter=starter)

    def _new_worker(self, engine: Engine) -> DefaultWorker:
        config, options = self._app.config, self._options
        worker = DefaultWorker(
            self._app,
            engine,
            name=self._name,
            queues=options.queues or config.queues,
            concurrency=options.concurrency or config.concurrency,
            queue_concurrency={**config.queue_concurrency, **(options.queue_concurrency or {})},
        )
        worker.on_exhausted = self._restart
        return worker

    def _restart(self) -> None:
        self._is_exhausted = True
        self._stopping.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for *work*; return False when a stop was asked for before it was done."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
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

    def _start_helper(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._helpers.add(task)
        return task

    def _watch_parent(self) -> None:
        if self._options.parent is not None:
            self._start_helper(self._stop_with(self._options.parent))

    async def _stop_with(self, parent: int) -> None:
        await ParentWatch(parent).wait()
        logger.warning("the parent process is gone: stopping")
        self._stopping.set()

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
            self._stopping.set()
        elif heard == "now" and not self._options.supervised:  # a supervisor says SIGKILL when it means it
            logger.warning("second signal: exit at once")
            os._exit(_SIGNAL_EXIT + number)
