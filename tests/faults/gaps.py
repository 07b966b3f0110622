"""A broker and a storage on two files, and the moments between their writes in which a process kills itself.

`FAULTS_GAP` names the moment, such as "after send": the call has done its work, and nobody has heard of it yet.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from qtasks_core.context import AppContext, SharedObjects
from qtasks_sqlite.broker import SqliteBroker
from qtasks_sqlite.storage import SqliteStorage
from qtasks_testing.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.config import QueueConfig

__all__ = ["GAP", "MESSAGES", "NAME", "RECORDS", "deadly_parts", "successor_of"]

GAP = "FAULTS_GAP"
NAME = "gaps"
MESSAGES, RECORDS = "messages.db", "records.db"


def successor_of(uuid: UUID) -> UUID:
    """Return the id of the task that follows on a task; always the same, so that it may be sent twice."""
    return uuid5(uuid, "second")


def deadly_parts(config: QueueConfig, ledger: Ledger) -> tuple[SqliteBroker, SqliteStorage]:
    """Make broker and storage in the current folder; they note what they have recorded, and die when it is time."""
    context = AppContext(NAME, config, SharedObjects())
    broker, storage = SqliteBroker(f"sqlite:///{MESSAGES}", context), SqliteStorage(f"sqlite:///{RECORDS}", context)
    calls = {broker: ("receive", "send", "settle"), storage: ("add", "mark", "finish")}
    for part, names in calls.items():
        for name in names:
            setattr(part, name, _deadly(name, getattr(part, name), ledger))
    return broker, storage


def _deadly(name: str, call: Callable[..., Awaitable[Any]], ledger: Ledger) -> Callable[..., Awaitable[Any]]:
    async def deadly(*args: Any) -> Any:
        _die_if_it_is(f"before {name}")
        answers = await call(*args)
        if name == "finish":
            for record in args[0]:
                ledger.record(record.uuid, "recorded")
        _die_if_it_is(f"after {name}")
        return answers

    return deadly


def _die_if_it_is(moment: str) -> None:
    if os.environ.get(GAP) == moment:
        os.kill(os.getpid(), signal.SIGKILL)
