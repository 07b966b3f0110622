"""Unique keys where broker and storage do not keep them in one step: held in the cluster's shared memory instead.

A key is claimed by compare-and-set before its task is sent, and freed when the task's final record is written. Whoever
finds it held looks at the holder's record, so a claim that was left behind (a client or a worker that died) is taken
over: when that record is final, or when there is none although its send must have ended.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal
from uuid import UUID  # msgspec reads the annotation

import msgspec
from msgspec import Struct

from qtasks_core.contract import FINAL, Capability, Storage
from qtasks_core.errors import (
    AlreadyFinal,
    ConfigError,
    ItemError,
    SendRefusedError,
    SendUnknownError,
    UnavailableError,
)
from qtasks_core.group_commit import Backoff
from qtasks_core.writes import is_fused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import Broker, ComponentContext, GlobalConfig, Outcome, PerItem, Results, TaskRecord

__all__ = ["UniqueKeys", "keeps_unique_keys"]

logger = logging.getLogger("qtasks.engine")

PREFIX = "unique/"
_UNASKED_TTL_S = 86_400.0
"""Longest time that a key is held where no storage can be asked for its holder."""
_FREE_S = 1.0
_LONGEST_PAUSE_S = 0.5


class _Claim(Struct, array_like=True):
    """Who holds a key, and until when (UTC epoch seconds) its send may be under way."""

    uuid: UUID
    sent_by: float


def keeps_unique_keys(broker: Broker, storage: Results) -> bool:
    """Whether a key, a record and a message of one task are one atomic step there."""
    return is_fused(broker, storage) and Capability.UNIQUE in storage.capabilities


class UniqueKeys:
    """Claims and frees keys.

    Parameters:
        storage: Asked for the holder of a key.
        global_config: Holds the keys.
        context: The app's clock and settings.
    """

    def __init__(self, storage: Results, global_config: GlobalConfig | None, context: ComponentContext) -> None:
        self._storage = storage
        self._global_config = global_config
        self._clock = context.clock
        self._patience_s = context.config.send_timeout

    @property
    def is_able(self) -> bool:
        """Whether there is something that can hold keys."""
        return self._global_config is not None and Capability.CAS in self._global_config.capabilities

    async def claim(self, key: str, uuid: UUID, ttl_s: float | None) -> UUID:
        """Return who holds a key: *uuid* when it was free, else the task that was first and whose record is there.

        Parameters:
            key: The unique key.
            uuid: The task that is about to be sent.
            ttl_s: Seconds after which the key is free again in any case; None: when its task has ended.

        Raises:
            ConfigError: Nothing here can keep a key unique; names the setting that helps.
            SendRefusedError: It could not be found out within `send_timeout`.
        """
        global_config, backoff = self._shared_memory(), Backoff(_LONGEST_PAUSE_S)
        last: Exception | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        if (holder := await self._claim_once(global_config, key, uuid, ttl_s)) is not None:
                            return holder
                    except (UnavailableError, SendUnknownError) as error:
                        last = error
                    await backoff.wait()
        except TimeoutError:
            why = last or "another task of it is being added, and it is not known yet what becomes of that"
            raise SendRefusedError(f"the unique key {key!r} could not be claimed: {why}") from last

    async def free(self, key: str, uuid: UUID) -> None:
        """Free a key that a task holds; what cannot be freed now is taken over by the next claim."""
        global_config = self._global_config
        if global_config is None or Capability.CAS not in global_config.capabilities:
            return
        try:
            async with asyncio.timeout(_FREE_S):
                versioned = await global_config.get(f"{PREFIX}{key}")
                claim = _read(versioned.value)
                if claim is not None and claim.uuid == uuid:
                    await global_config.cas(f"{PREFIX}{key}", None, versioned.revision)
        except (ItemError, SendUnknownError, TimeoutError) as error:
            logger.debug("the unique key of task %s is not freed yet: %r", uuid, error)

    def freeing(
        self, write: Callable[[Sequence[Outcome]], Awaitable[PerItem]]
    ) -> Callable[[Sequence[Outcome]], Awaitable[PerItem]]:
        """Return a write of outcomes that also frees the keys of the tasks that have ended."""

        async def write_and_free(batch: Sequence[Outcome]) -> PerItem:
            answers = await write(batch)
            ended = [
                (outcome.record.unique_key, outcome.record.uuid)
                for outcome, answer in zip(batch, answers, strict=True)
                if outcome.record is not None
                and outcome.record.unique_key is not None
                and outcome.record.status in FINAL
                and (answer is None or isinstance(answer, AlreadyFinal))
            ]
            if ended:
                await asyncio.gather(*(self.free(key, uuid) for key, uuid in ended))
            return answers

        return write_and_free

    async def _claim_once(self, global_config: GlobalConfig, key: str, uuid: UUID, ttl_s: float | None) -> UUID | None:
        """Return the holder, None when it has to be asked again."""
        if ttl_s is None and not isinstance(self._storage, Storage):
            ttl_s = _UNASKED_TTL_S
        mine = msgspec.json.encode(_Claim(uuid, self._clock() + 2 * self._patience_s))
        if await global_config.cas(f"{PREFIX}{key}", mine, 0, ttl_s) is not None:
            return uuid
        versioned = await global_config.get(f"{PREFIX}{key}")
        claim = _read(versioned.value)
        if claim is not None and claim.uuid == uuid:
            return uuid
        state = "over" if claim is None else await self._state_of(claim)
        if state == "over":
            won = await global_config.cas(f"{PREFIX}{key}", mine, versioned.revision, ttl_s)
            return None if won is None else uuid
        return claim.uuid if claim is not None and state == "known" else None

    async def _state_of(self, claim: _Claim) -> Literal["known", "over", "being sent"]:
        if not isinstance(self._storage, Storage):
            return "known"
        record: TaskRecord | None = (await self._storage.get([claim.uuid]))[0]
        if record is not None:
            return "over" if record.status in FINAL else "known"
        return "over" if self._clock() > claim.sent_by else "being sent"

    def _shared_memory(self) -> GlobalConfig:
        if self._global_config is None or Capability.CAS not in self._global_config.capabilities:
            raise ConfigError(
                "option unique_key: nothing here can keep a key unique: name a global config that has compare-and-set "
                "with global_config_url="
            )
        return self._global_config


def _read(value: bytes | None) -> _Claim | None:
    """Read a claim; None: there is none, or it is damaged."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=_Claim)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
