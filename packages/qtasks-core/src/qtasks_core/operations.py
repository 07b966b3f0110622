"""What operators do with an app: cancel, pause, ask who is there, delete everything; in both faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.dead_letters import BlockingDeadLetters, DeadLetters
from qtasks_core.errors import ConfigError
from qtasks_core.pinging import ping
from qtasks_core.task import BlockingTask, Task

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.pinging import PingedWorker

__all__ = ["AsyncOperations", "BlockingOperations"]

_PING_S = 2.0


class AsyncOperations:
    """Operations that are awaited."""

    core: App

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that came to no good end: list, replay, purge."""
        return DeadLetters(self.core)

    async def get_many(self, uuids: Iterable[UUID]) -> list[Task[Any] | None]:
        """Return several tasks by their ids, in one question; None for each of which nothing is known.

        Parameters:
            uuids: Their ids.

        Raises:
            ConfigError: The storage is a mailbox that keeps no records.
        """
        records = await self.core.engine().get_many(list(uuids))
        return [None if record is None else Task(self.core, record) for record in records]

    async def cancel(self, uuid: UUID, reason: str = "cancelled by its caller") -> bool:
        """Ask for the end of a task, whether it waits or runs; see `Task.cancel`.

        Parameters:
            uuid: The task.
            reason: Kept with the task.

        Returns:
            True: it was asked for. False: the task had ended.

        Raises:
            ResultExpiredError: Nothing is known of the task.
            ConfigError: There is no global config, so running tasks cannot be reached.
        """
        return await (await self.core.engine().control()).cancel(uuid, reason)

    async def pause(self, queue: str) -> None:
        """Have all workers take nothing more from a queue until it is resumed, also after they are started anew.

        What runs goes on, and tasks may be added.

        Parameters:
            queue: Its name.

        Raises:
            ConfigError: The name is empty, or there is no global config, so workers cannot be reached.
        """
        await (await self.core.engine().control()).pause(_named(queue))

    async def resume(self, queue: str) -> None:
        """Have the workers take from a queue again.

        Parameters:
            queue: Its name; one that is not paused is no error.

        Raises:
            ConfigError: The name is empty, or there is no global config, so workers cannot be reached.
        """
        await (await self.core.engine().control()).resume(_named(queue))

    async def paused(self) -> list[str]:
        """Return the names of the paused queues, sorted.

        Raises:
            ConfigError: There is no global config.
        """
        return await (await self.core.engine().control()).paused()

    async def ping(self, timeout: float = _PING_S) -> list[PingedWorker]:
        """Ask all workers of the app whether they are alive; return them by name, with those that do not answer.

        Parameters:
            timeout: Seconds to wait until all that are announced have answered; where none is, for whoever answers.

        Raises:
            ConfigError: There is no global config, so workers cannot be reached.
        """
        engine = self.core.engine()
        await engine.control()
        chain = self.core.triggers.of("qtasks_ping")
        if chain:
            await self.core.triggers.notify(chain, qtasks=self.core.face, global_config=engine.global_config)
        return await ping(engine.shared_memory, engine.context.clock, timeout)

    async def flush_all(self) -> None:
        """Delete everything of the app: waiting tasks, dead letters, records, results, pauses, cancels, locks, states.

        Tasks that run go on, and what becomes of them is not kept. There is no way back.
        """
        engine, triggers = self.core.engine(), self.core.triggers
        await engine.control()
        broker, storage = engine.broker, engine.storage
        await triggers.notify(triggers.of("qtasks_flush_all"), qtasks=self.core.face, broker=broker)
        await triggers.notify(triggers.of("broker_flush_all"), broker=broker)
        await broker.clear()
        await triggers.notify(triggers.of("storage_flush_all"), storage=storage)
        await storage.clear()
        if engine.global_config is not None:
            await engine.global_config.clear()


class BlockingOperations:
    """The same, blocking; each does what its twin in `AsyncOperations` does."""

    core: App

    @property
    def dead_letters(self) -> BlockingDeadLetters:
        """Messages that came to no good end; see `AsyncOperations.dead_letters`."""
        return BlockingDeadLetters(self.core)

    def get_many(self, uuids: Iterable[UUID]) -> list[BlockingTask[Any] | None]:
        """Return several tasks by their ids; see `AsyncOperations.get_many`."""
        found = self.core.portal.call(self.core.aio.get_many, uuids, hint="app.aio.get_many(…)")
        return [None if task is None else BlockingTask(self.core, task.record) for task in found]

    def cancel(self, uuid: UUID, reason: str = "cancelled by its caller") -> bool:
        """Ask for the end of a task; see `AsyncOperations.cancel`."""
        return self.core.portal.call(self.core.aio.cancel, uuid, reason, hint="app.aio.cancel(…)")

    def pause(self, queue: str) -> None:
        """Have all workers take nothing more from a queue; see `AsyncOperations.pause`."""
        self.core.portal.call(self.core.aio.pause, queue, hint="app.aio.pause(…)")

    def resume(self, queue: str) -> None:
        """Have the workers take from a queue again; see `AsyncOperations.resume`."""
        self.core.portal.call(self.core.aio.resume, queue, hint="app.aio.resume(…)")

    def paused(self) -> list[str]:
        """Return the names of the paused queues; see `AsyncOperations.paused`."""
        return self.core.portal.call(self.core.aio.paused, hint="app.aio.paused()")

    def ping(self, timeout: float = _PING_S) -> list[PingedWorker]:
        """Ask all workers whether they are alive; see `AsyncOperations.ping`."""
        return self.core.portal.call(self.core.aio.ping, timeout, hint="app.aio.ping(…)")

    def flush_all(self) -> None:
        """Delete everything of the app; see `AsyncOperations.flush_all`."""
        self.core.portal.call(self.core.aio.flush_all, hint="app.aio.flush_all()")


def _named(queue: object) -> str:
    if not isinstance(queue, str) or not queue:
        raise ConfigError(f"queue: expected the name of a queue, got {queue!r}")
    return queue
