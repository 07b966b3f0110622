"""The two writes of a task's life: one step where broker and storage share a server, a safe order elsewhere."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import msgspec

from qtasks_core.contract import FusedBroker, FusedSender, Outcome, Storage, TaskRecord
from qtasks_core.errors import AlreadyExists, AlreadyFinal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import Broker, Envelope, PerItem, Results, Sender

__all__ = ["Addition", "add_writer", "finish_writer", "is_fused"]

logger = logging.getLogger("qtasks.engine")

Addition: TypeAlias = "tuple[TaskRecord, Envelope]"


def is_fused(sender: Sender, storage: Results) -> TypeGuard[FusedSender]:
    """Whether both are on one server, which writes what concerns both in one step."""
    return isinstance(sender, FusedSender) and sender.fuses(storage)


def add_writer(sender: Sender, storage: Results) -> Callable[[Sequence[Addition]], Awaitable[PerItem]]:
    """Return the write that makes tasks safe.

    Without a shared server it is send, then insert: a crash between leaves a task that runs, not a record that never
    ends.
    """
    if is_fused(sender, storage):
        return sender.add_and_send

    async def send_then_add(batch: Sequence[Addition]) -> PerItem:
        answers = list(await sender.send([envelope for _, envelope in batch]))
        if isinstance(storage, Storage):
            await _add_records(
                storage, [record for (record, _), answer in zip(batch, answers, strict=True) if _is_in(answer)]
            )
        return answers

    return send_then_add


def finish_writer(broker: Broker, storage: Results) -> Callable[[Sequence[Outcome]], Awaitable[PerItem]]:
    """Return the write that ends runs.

    Without a shared server it is follow-up sends, record, verdict: a crash can repeat a task, never lose its result or
    a successor.
    """
    if is_fused(broker, storage) and isinstance(broker, FusedBroker):
        return broker.finish_and_settle
    add = add_writer(broker, storage)

    async def send_finish_settle(batch: Sequence[Outcome]) -> PerItem:
        answers: list[Exception | None] = [None] * len(batch)
        await _send_follow_ups(add, broker, batch, answers)
        await _finish_records(storage, batch, answers)
        await _settle(broker, batch, answers)
        return answers

    return send_finish_settle


def _is_in(answer: Exception | None) -> bool:
    return answer is None or isinstance(answer, AlreadyExists)


async def _add_records(storage: Storage, records: list[TaskRecord]) -> None:
    """Insert records of tasks that are queued already; a failure costs only their early visibility."""
    if not records:
        return
    try:
        answers = await storage.add(records)
    except Exception as error:  # noqa: BLE001  # the tasks are safe: the final record is written when they end
        logger.warning("%d tasks are queued, but their records could not be written: %r", len(records), error)
        return
    for record, answer in zip(records, answers, strict=True):
        if answer is not None and not isinstance(answer, (AlreadyExists, AlreadyFinal)):
            logger.warning("task %s is queued, but its record could not be written: %r", record.uuid, answer)


async def _send_follow_ups(
    add: Callable[[Sequence[Addition]], Awaitable[PerItem]],
    broker: Broker,
    batch: Sequence[Outcome],
    answers: list[Exception | None],
) -> None:
    for index, outcome in enumerate(batch):
        if not outcome.sends:
            continue
        recorded = [(record, envelope) for record, envelope in outcome.sends if record is not None]
        bare = [envelope for record, envelope in outcome.sends if record is None]
        failures = [*(await add(recorded) if recorded else ()), *(await broker.send(bare) if bare else ())]
        answers[index] = next((failure for failure in failures if not _is_in(failure)), None)


async def _finish_records(storage: Results, batch: Sequence[Outcome], answers: list[Exception | None]) -> None:
    chosen = [
        (index, one.record) for index, one in enumerate(batch) if one.record is not None and answers[index] is None
    ]
    if not chosen:
        return
    written = await storage.finish([record for _, record in chosen])
    for (index, _), answer in zip(chosen, written, strict=True):
        answers[index] = answer


async def _settle(broker: Broker, batch: Sequence[Outcome], answers: list[Exception | None]) -> None:
    """Settle those whose record is written, or was there already: that answer stays, it tells whose record it is."""
    chosen = [index for index, answer in enumerate(answers) if answer is None or isinstance(answer, AlreadyFinal)]
    if not chosen:
        return
    settled = await broker.settle([msgspec.structs.replace(batch[index], sends=()) for index in chosen])
    for index, answer in zip(chosen, settled, strict=True):
        answers[index] = answers[index] if answer is None else answer
