"""Sending dead letters again, and opening what is known of their tasks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from qtasks_core.contract import Storage
from qtasks_core.errors import ItemError, SendError, WireError
from qtasks_core.messages import waiting_record
from qtasks_core.wire import unpack_message
from qtasks_core.writes import is_fused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Envelope, Inspectable, Results, Sender, TaskRecord
    from qtasks_core.engine import Engine

__all__ = ["Replaying", "keeps_records_elsewhere"]

logger = logging.getLogger("qtasks.engine")


class Replaying:
    """Sends dead letters of a broker again.

    Parameters:
        engine: Its engine, started.
        broker: The same broker, as one that can be looked into.
    """

    def __init__(self, engine: Engine, broker: Inspectable) -> None:
        self._engine = engine
        self._broker = broker

    async def replay(self, queue: str, cursors: Sequence[str]) -> int:
        """Send the letters at these places again; return how many there were."""
        sent: list[Envelope] = []

        def rewrite(envelope: Envelope) -> Envelope:
            again = anew(envelope)
            sent.append(again)
            return again

        count = await self._broker.replay(queue, rewrite, cursors)
        storage = self._engine.storage
        if keeps_records_elsewhere(storage, self._engine.broker):
            if count == len(sent):
                await self._reopen(storage, sent)
            else:  # somebody else has sent or deleted some of them meanwhile: which is not known
                logger.warning("%d of %d dead letters were gone already", len(sent) - count, len(sent))
        return count

    async def _reopen(self, storage: Storage, sent: Sequence[Envelope]) -> None:
        """Have the results waited for again: the broker knows nothing of the records elsewhere.

        Where a worker was quicker its record stays. A failure costs early visibility only: the worker reopens it too.
        """
        now = self._engine.context.clock()
        try:
            await storage.add([await self._updated(storage, _record(envelope, now)) for envelope in sent])
            await self._hold_keys(sent)
        except (ItemError, SendError) as error:
            logger.warning("%d tasks were sent again, but their records could not be reopened: %s", len(sent), error)

    async def _updated(self, storage: Storage, record: TaskRecord) -> TaskRecord:
        """Return what plugins make of a record that is opened again."""
        triggers = self._engine.triggers
        if not (chain := triggers.of("storage_update")):
            return record
        return await triggers.replace_or_keep(chain, record, "is reopened", storage=storage)

    async def _hold_keys(self, sent: Sequence[Envelope]) -> None:
        keys = self._engine.unique_keys
        if keys is None or not keys.is_able:
            return
        for envelope in sent:
            if envelope.unique_key is not None:
                await keys.claim(envelope.unique_key, envelope.uuid, None)  # another task may have it: then without


def keeps_records_elsewhere(storage: Results, broker: Sender) -> TypeGuard[Storage]:
    """Whether records are kept, and a broker that sends a dead letter again does not reopen them."""
    return isinstance(storage, Storage) and not is_fused(broker, storage)


def anew(envelope: Envelope) -> Envelope:
    """Return the message of a task that begins anew: one replay more, attempt 1, due now, nothing held against it."""
    return msgspec.structs.replace(
        envelope,
        replays=envelope.replays + 1,
        attempt=1,
        crashes=0,
        delay_s=0.0,
        due_at=None,
        expires_at=None,
        parked_at=None,
    )


def _record(envelope: Envelope, now: float) -> TaskRecord:
    try:
        message = unpack_message(envelope.body)
        name, ttl_s = message.task_name, message.result_ttl_s
    except WireError:  # of another version: its worker will tell
        name, ttl_s = "", None
    record = waiting_record(envelope, name, ttl_s)
    record.updated_at, record.unique_key = now, None
    return record
