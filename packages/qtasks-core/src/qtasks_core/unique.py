"""Unique keys where broker and storage share no server: held in the cluster's shared memory by compare-and-set."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from qtasks_core.contract import FINAL, Capability, FusedSender, Storage
from qtasks_core.errors import AlreadyFinal, ConfigError, UnavailableError
from qtasks_core.group_commit import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import Broker, GlobalConfig, Outcome, PerItem, Results, TaskRecord

__all__ = ["UniqueKeys", "freeing", "keeps_unique"]

logger = logging.getLogger("qtasks.engine")

UNIQUE_PREFIX = "unique/"
_DAY_S = 86_400.0
_LONGEST_WAIT_S = 0.2


class _Holder(Struct, array_like=True, frozen=True):
    uuid: UUID
    since: float


def keeps_unique(broker: Broker, storage: Results) -> bool:
    """Tell whether the server itself keeps keys unique, in the step that adds a task."""
    is_fused = isinstance(broker, FusedSender) and broker.fuses(storage)
    return is_fused and Capability.UNIQUE in storage.capabilities


class UniqueKeys:
    """Claims a key before its task is sent, and frees it when the task has ended.

    Parameters:
        global_config: Where keys are held; None, or one without compare-and-set: nothing can hold them.
        storage: Tells whether a holder has ended, when it keeps records.
        clock: The time now, in epoch seconds.
        patience_s: Seconds that a claim may stand before its task is known: after them its sender has given up.
    """

    def __init__(
        self, global_config: GlobalConfig | None, storage: Results, clock: Callable[[], float], patience_s: float
    ) -> None:
        self._global_config = global_config
        self._storage = storage
        self._clock = clock
        self._patience_s = patience_s

    async def claim(self, record: TaskRecord) -> UUID | None:
        """Claim the key of a task that is about to be sent; return the task that holds it, None when it is ours.

        Raises:
            ConfigError: Nothing can hold keys.
        """
        shared = self._shared()
        key = f"{UNIQUE_PREFIX}{record.unique_key}"
        ttl_s = record.unique_ttl_s
        if ttl_s is None and not isinstance(self._storage, Storage):
            ttl_s = _DAY_S  # nobody could tell that its holder is gone
        backoff = Backoff(_LONGEST_WAIT_S)
        while True:
            found = await shared.get(key)
            holder = None if found.value is None else msgspec.msgpack.decode(found.value, type=_Holder)
            if holder is not None and holder.uuid != record.uuid:
                is_over = await self._is_over(holder)
                if is_over is None:
                    await backoff.wait()
                    continue
                if not is_over:
                    return holder.uuid
            ours = msgspec.msgpack.encode(_Holder(record.uuid, self._clock()))
            if await shared.cas(key, ours, found.revision, ttl_s) is not None:
                return None

    async def free(self, key: str, uuid: UUID) -> None:
        """Free a key if that task holds it."""
        if self._global_config is None or Capability.CAS not in self._global_config.capabilities:
            return
        found = await self._global_config.get(f"{UNIQUE_PREFIX}{key}")
        if found.value is not None and msgspec.msgpack.decode(found.value, type=_Holder).uuid == uuid:
            await self._global_config.cas(f"{UNIQUE_PREFIX}{key}", None, found.revision)

    async def _is_over(self, holder: _Holder) -> bool | None:
        """Whether the holder has ended, or was never sent: a process that died could not free its key.

        None: it may be on its way.
        """
        if not isinstance(self._storage, Storage):
            return False
        record = (await self._storage.get([holder.uuid]))[0]
        if record is None:
            return True if self._clock() - holder.since > self._patience_s else None
        return record.status in FINAL

    def _shared(self) -> GlobalConfig:
        if self._global_config is None or Capability.CAS not in self._global_config.capabilities:
            raise ConfigError(
                "option unique_key: nothing here can keep a key unique: name a global config that has compare-and-set "
                "with global_config_url="
            )
        return self._global_config


def freeing(
    write: Callable[[Sequence[Outcome]], Awaitable[PerItem]], keys: UniqueKeys
) -> Callable[[Sequence[Outcome]], Awaitable[PerItem]]:
    """Return the write that frees the keys of tasks whose end it has written."""

    async def write_and_free(batch: Sequence[Outcome]) -> PerItem:
        answers = await write(batch)
        for outcome, answer in zip(batch, answers, strict=True):
            record = outcome.record
            if record is None or record.unique_key is None or record.status not in FINAL:
                continue
            if answer is None or isinstance(answer, AlreadyFinal):
                await _free(keys, record.unique_key, record.uuid)
        return answers

    return write_and_free


async def _free(keys: UniqueKeys, key: str, uuid: UUID) -> None:
    try:
        await keys.free(key, uuid)
    except UnavailableError as error:
        logger.debug("the unique key of task %s is freed when it is asked for: %s", uuid, error)
    except Exception:
        logger.exception("the unique key of task %s could not be freed: it is when somebody asks for it", uuid)
