"""What a test holds of an app in memory: it runs what waits and moves the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.memory import MemoryStorage
from qtasks_core.task import BlockingTask, Task
from qtasks_core.testing.clock import MovedClock
from qtasks_core.testing.idle import run_until_idle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtasks_core.app import App
    from qtasks_core.contract import TaskRecord

__all__ = ["AsyncMemory", "BlockingMemory"]

_TIMEOUT_S = 30.0


class _Memory:
    def __init__(self, core: App) -> None:
        context = core.new_context()
        clock = context.clock
        if not isinstance(clock, MovedClock):
            raise TypeError("a memory_app block gives these objects")
        self._core = core
        self._clock = clock
        self._server = MemoryStorage("memory://", context).server

    def time(self) -> float:
        """Return the time as the app sees it (UTC epoch seconds)."""
        return self._clock()

    def advance(self, seconds: float) -> None:
        """Move the app's time ahead: delays, due times, expiries, retries and lifetimes of results come closer.

        What is due now runs with the next `run_until_idle`, or at once where a worker runs. Timeouts of runs and sleeps
        inside of tasks go by the real time.

        Parameters:
            seconds: How far, 0 or more.
        """
        self._clock.advance(seconds)
        self._server.touch()

    def _waiting(self) -> Iterator[TaskRecord]:
        with self._server.step as now:
            for name in self._server.exchange.names:
                queue = self._server.exchange.queue(name)
                queue.promote(now)
                for task in queue.listing(dead=False).values():
                    if (record := task.snapshot()) is not None:
                        yield record

    def _returns(self, record: TaskRecord) -> Any:
        definition = self._core.registry.get(record.task_name)
        return Any if definition is None else definition.returns


class AsyncMemory(_Memory):
    """An app in memory, for a test that awaits.

    Parameters:
        core: The app.
    """

    async def run_until_idle(self, *, timeout: float = _TIMEOUT_S, concurrency: int | None = None) -> list[Task[Any]]:
        """Run what waits and is due, and what that adds, of all queues that are not paused, until there is no more.

        Parameters:
            timeout: Seconds of real time.
            concurrency: Tasks at the same time; the app's setting by default.

        Returns:
            A task for each run, in the order in which they ended; one that was tried twice is there twice.

        Raises:
            TimeoutError: Tasks still run or wait then; names them.
        """
        records = await run_until_idle(self._core, timeout, concurrency)
        return [Task(self._core, record, self._returns(record)) for record in records]

    def waiting(self) -> list[Task[Any]]:
        """Return what waits, due or not, queue by queue, in the order in which it will be taken."""
        return [Task(self._core, record, self._returns(record)) for record in self._waiting()]


class BlockingMemory(_Memory):
    """An app in memory, for a test that blocks.

    Parameters:
        core: The app.
    """

    def run_until_idle(self, *, timeout: float = _TIMEOUT_S, concurrency: int | None = None) -> list[BlockingTask[Any]]:
        """Run what waits and is due, and what that adds; see `AsyncMemory.run_until_idle`.

        Raises:
            TimeoutError: Tasks still run or wait then; names them.
            BlockingCallError: This thread runs an event loop; there it is `async with memory_app(app)`.
        """
        hint = "run_until_idle() of `async with memory_app(app)`"
        records = self._core.portal.call(run_until_idle, self._core, timeout, concurrency, hint=hint)
        return [BlockingTask(self._core, record, self._returns(record)) for record in records]

    def waiting(self) -> list[BlockingTask[Any]]:
        """Return what waits; see `AsyncMemory.waiting`."""
        return [BlockingTask(self._core, record, self._returns(record)) for record in self._waiting()]
