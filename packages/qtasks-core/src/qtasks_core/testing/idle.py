"""Running what waits in memory, with a real worker, until there is nothing more to do."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING

from qtasks_core.components import Components
from qtasks_core.control import PAUSE_PREFIX
from qtasks_core.engine import Engine
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtasks_core.app import App
    from qtasks_core.context import AppContext
    from qtasks_core.contract import Delivery, Outcome, PerItem, TaskRecord

__all__ = ["memory_engine", "run_until_idle"]

_NAME = "run-until-idle"
_LOOK_EVERY_S = 0.02
"""What is not seen when something is settled: a queue that is new, a message that another worker took."""


async def run_until_idle(core: App, timeout_s: float, concurrency: int | None) -> list[TaskRecord]:
    """Run what is due, of all queues that are not paused, on the running loop; return the record of each run.

    Parameters:
        core: An app in memory.
        timeout_s: Seconds that it may take.
        concurrency: Tasks at the same time; None takes the setting.

    Raises:
        TimeoutError: Tasks still run or wait then.
    """
    records: list[TaskRecord] = []
    until = asyncio.get_running_loop().time() + timeout_s
    while not (broker := _WatchedBroker(core.new_context(_NAME))).is_idle():
        try:
            await _work(core, broker, concurrency or core.config.concurrency, until)
        except TimeoutError as error:
            raise TimeoutError(f"not idle within {timeout_s:g} s: {error}") from None
        records += broker.records
    return records


def memory_engine(core: App, context: AppContext, broker: MemoryBroker) -> Engine:
    """Return an engine beside that of the running loop, on the memory of an app under test.

    Parameters:
        core: The app.
        context: Its own.
        broker: Its own.
    """
    parts = Components(broker, MemoryStorage("memory://", context), MemoryGlobalConfig("memory://", context))
    return Engine(core.face, parts, context, core.codecs.chosen, core.triggers, middlewares=core.middlewares)


async def _work(core: App, broker: _WatchedBroker, concurrency: int, until: float) -> None:
    """Let a worker work until nothing is left, or the loop's time is *until*: then TimeoutError says what is left."""
    engine = memory_engine(core, broker.context, broker)
    worker = DefaultWorker(core, engine, name=_NAME, queues=core.config.queues, concurrency=concurrency)
    try:
        await engine.start(control=True)
        await worker.start()
        try:
            async with asyncio.timeout_at(until):
                await broker.until_idle()
        except TimeoutError:
            raise TimeoutError(broker.told()) from None
    finally:
        await worker.drain(0.0)
        await worker.stop()
        await engine.stop()


class _WatchedBroker(MemoryBroker):
    """Reads every queue that is not paused, keeps the records that are written, and knows when all is done.

    Parameters:
        context: Of the worker.
    """

    def __init__(self, context: AppContext) -> None:
        super().__init__("memory://", context)
        self.context = context
        self.records: list[TaskRecord] = []
        self._settled = asyncio.Event()

    async def subscribe(
        self,
        queues: Sequence[str],  # noqa: ARG002  # all are read
        worker: str,
        slots: int,
        lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        """Read what is there."""
        await super().subscribe(self._readable(), worker, slots, lost)

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Settle, and keep what is written."""
        answers = await super().finish_and_settle(batch)
        self.records += [
            copy(outcome.record)
            for outcome, answer in zip(batch, answers, strict=True)
            if outcome.record is not None and answer is None
        ]
        self._settled.set()
        return answers

    async def until_idle(self) -> None:
        """Return when nothing is due and nothing runs here."""
        while not self.is_idle():
            self._read_new_queues()
            self._settled.clear()
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._settled.wait()
            except TimeoutError:
                continue

    def is_idle(self) -> bool:
        """Whether nothing is due and nothing runs here."""
        if self._session is not None and self._session.held:
            return False
        readable = self._readable()
        with self.server.step as now:
            queues = [self.server.exchange.queue(name) for name in readable]
            for queue in queues:
                queue.promote(now)
            return not any(queue.ready for queue in queues)

    def told(self) -> str:
        """Tell what runs and what is due."""
        with self.server.step:
            tasks = list(self.server.ledger.tasks.values())
            held = [task for task in tasks if task.where == "lent"]
            ready = [task for task in tasks if task.where == "waiting" and task.key is task.place]
        told = [f"{what} {_names(found)}" for what, found in (("running", held), ("waiting", ready)) if found]
        return "; ".join(told) or "a plugin has not ended"

    def _readable(self) -> list[str]:
        with self.server.step:
            paused = {key.removeprefix(PAUSE_PREFIX) for key in self.server.keys.list(PAUSE_PREFIX)}
            return [name for name in self.server.exchange.names if name not in paused]

    def _read_new_queues(self) -> None:
        readable = self._readable()
        if self._session is not None and set(readable) != set(self._session.queues):
            with self.server.step:
                self.server.exchange.listen(self._session, readable)


def _names(tasks: Sequence[object]) -> str:
    return ", ".join(sorted({getattr(getattr(task, "record", None), "task_name", "?") for task in tasks}))
