"""The app on two files; as a program, `python -m faults.gap_app UUID`, it adds one task under that id.

Never import it in a test: it gives each end of a `first` a follow-up, as workflows do, by a change in the worker.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from faults.gaps import NAME, deadly_parts, successor_of
from qtasks import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.options import CallOptions
from qtasks_core.outgoing import DraftEncoder
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.worker import worker
from qtasks_core.writes import finish_writer
from qtasks_testing.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qtasks_core.contract import Broker, Outcome, PerItem, Results

ledger = Ledger("ledger")
config = QueueConfig.from_env()
_broker, _storage = deadly_parts(config, ledger)
app = QueueTasks(NAME, broker=_broker, storage=_storage, config=config)


@app.task
async def first(key: str) -> int:
    ledger.record(key, "first")
    return os.getpid()


@app.task
async def second(key: str) -> int:
    ledger.record(key, "second")
    return os.getpid()


def _with_successor(outcome: Outcome) -> Outcome:
    record = outcome.record
    if record is None or record.task_name != first.name:
        return outcome
    draft = app.core.draft(second.name, (str(record.uuid),), {}, CallOptions(uuid=successor_of(record.uuid)))
    send = DraftEncoder(DEFAULT_SERIALIZER, config).encode(draft, record.updated_at, None)
    return msgspec.structs.replace(outcome, sends=(send,))


def _finish_writer(broker: Broker, storage: Results) -> Callable[[Sequence[Outcome]], Awaitable[PerItem]]:
    write = finish_writer(broker, storage)

    async def write_with_successors(batch: Sequence[Outcome]) -> PerItem:
        return await write([_with_successor(outcome) for outcome in batch])

    return write_with_successors


worker.finish_writer = _finish_writer  # type: ignore[attr-defined]  # it is not exported, only used there

if __name__ == "__main__":
    first.with_options(uuid=UUID(sys.argv[1])).add_task(sys.argv[1])
