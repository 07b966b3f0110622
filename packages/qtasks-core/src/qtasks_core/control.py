"""What operators and callers ask of the workers: cancels and pauses, kept in the cluster's shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import FINAL, Cancels, Storage
from qtasks_core.errors import ConfigError, ResultExpiredError
from qtasks_core.writes import is_fused

if TYPE_CHECKING:
    from uuid import UUID

    from qtasks_core.contract import Broker, GlobalConfig, Results

__all__ = ["CANCEL_PREFIX", "PAUSE_PREFIX", "WORKER_PREFIX", "Control"]

CANCEL_PREFIX = "cancel/"
PAUSE_PREFIX = "pause/"
WORKER_PREFIX = "worker/"
_TTL_S = 30 * 86_400.0  # a task may wait for its time; one that obeys takes its cancel back


class Control:
    """The client's half; `worker.commands` is the other.

    Parameters:
        broker: Where tasks wait.
        storage: Where their records are.
        global_config: What carries the word to the workers; None: nothing does.
    """

    def __init__(self, broker: Broker, storage: Results, global_config: GlobalConfig | None) -> None:
        self._broker = broker
        self._storage = storage
        self._global_config = global_config

    async def cancel(self, uuid: UUID, reason: str) -> bool:
        """Remove a task that waits, or ask for the end of its run; False when it had ended.

        Raises:
            ResultExpiredError: Nothing is known of it.
            ConfigError: There is no global config, so running tasks cannot be reached.
        """
        if is_fused(self._broker, self._storage) and isinstance(self._broker, Cancels):
            answer = (await self._broker.cancel([uuid], reason))[0]
            if answer is not None:
                return answer
        if isinstance(self._storage, Storage):
            record = (await self._storage.get([uuid]))[0]
            if record is None:
                raise ResultExpiredError(f"nothing is known of task {uuid}: it expired, or never was")
            if record.status in FINAL:
                return False
        channel = self._channel("cancel a running task")
        await channel.put(f"{CANCEL_PREFIX}{uuid}", reason.encode(), _TTL_S)
        if isinstance(self._storage, Storage):
            record = (await self._storage.get([uuid]))[0]
            if record is not None and record.status in FINAL:  # it ended meanwhile: nobody else takes this back
                await channel.put(f"{CANCEL_PREFIX}{uuid}", None)
                return record.status == "cancel"
        return True

    async def pause(self, queue: str) -> None:
        """Have all workers take nothing more from a queue, also after a restart, until it is resumed."""
        await self._channel("pause a queue").put(f"{PAUSE_PREFIX}{queue}", b"1")

    async def resume(self, queue: str) -> None:
        """Have the workers take from a queue again."""
        await self._channel("resume a queue").put(f"{PAUSE_PREFIX}{queue}", None)

    async def paused(self) -> list[str]:
        """Return the names of the paused queues."""
        found = await self._channel("list paused queues").list(PAUSE_PREFIX)
        return sorted(key.removeprefix(PAUSE_PREFIX) for key, versioned in found.items() if versioned.value is not None)

    def _channel(self, what: str) -> GlobalConfig:
        if self._global_config is None:
            raise ConfigError(f"to {what} the workers must be reached: name a global config with global_config_url=")
        return self._global_config
