"""The client's half of cancels and pauses: what is asked of whom, and what is left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.context import AppContext, SharedObjects
from qtasks_core.contract import Status, TaskRecord
from qtasks_core.control import CANCEL_PREFIX, Control
from qtasks_core.errors import ConfigError, ResultExpiredError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_core.naming import new_uuid

CONTEXT = AppContext("test", QueueConfig(), SharedObjects())


def _record(status: Status, uuid: UUID) -> TaskRecord:
    return TaskRecord(uuid=uuid, task_name="t", queue="default", status=status)


class _Storage(MemoryStorage):
    """A storage on a server of its own, which answers what the test says."""

    def __init__(self, *answers: Status | None) -> None:
        super().__init__("memory://other", CONTEXT)
        self._answers = list(answers)

    async def get(self, uuids: Sequence[UUID]) -> list[TaskRecord | None]:
        status = self._answers.pop(0)
        return [None if status is None else _record(status, uuids[0])]


class _Broker(MemoryBroker):
    """One that answers a cancel as the test says."""

    answer: bool | None = None

    async def cancel(self, uuids: Any, reason: str) -> Any:
        return [self.answer for _ in uuids]


@pytest.fixture
def shared() -> MemoryGlobalConfig:
    return MemoryGlobalConfig("memory://", AppContext("test", QueueConfig(), SharedObjects()))


async def _stands(shared: MemoryGlobalConfig) -> dict[str, bytes | None]:
    return {key: one.value for key, one in (await shared.list(CANCEL_PREFIX)).items()}


@pytest.mark.parametrize("answer", [True, False])
async def test_what_the_server_answers_is_the_answer(shared: MemoryGlobalConfig, *, answer: bool) -> None:
    """Removed, or final already: no worker has to hear of it."""
    broker = _Broker("memory://", CONTEXT)
    broker.answer = answer

    assert answer is await Control(broker, MemoryStorage("memory://", CONTEXT), shared).cancel(new_uuid(), "why")
    assert {} == await _stands(shared)


async def test_what_the_server_cannot_answer_is_left_to_the_workers(shared: MemoryGlobalConfig) -> None:
    """It runs: the word stands until its worker takes it back."""
    uuid = new_uuid()
    storage: Any = _Storage("process", "process")

    assert await Control(_Broker("memory://", CONTEXT), storage, shared).cancel(uuid, "why")
    assert {f"{CANCEL_PREFIX}{uuid}": b"why"} == await _stands(shared)


async def test_without_a_shared_server_its_answer_is_not_asked_for(shared: MemoryGlobalConfig) -> None:
    """The broker could remove the message, and the record would say that it waits, for ever."""
    broker = _Broker("memory://", CONTEXT)
    broker.answer = True
    uuid = new_uuid()
    storage: Any = _Storage("new", "new")

    assert await Control(broker, storage, shared).cancel(uuid, "why")
    assert {f"{CANCEL_PREFIX}{uuid}": b"why"} == await _stands(shared)


@pytest.mark.parametrize("status", ["success", "error", "cancel", "dead"])
async def test_what_has_ended_is_refused(shared: MemoryGlobalConfig, status: Status) -> None:
    """And nothing is left behind."""
    storage: Any = _Storage(status)

    assert not await Control(_Broker("memory://", CONTEXT), storage, shared).cancel(new_uuid(), "why")
    assert {} == await _stands(shared)


@pytest.mark.parametrize(("status", "answer"), [("success", False), ("error", False), ("cancel", True)])
async def test_what_ends_meanwhile_leaves_no_word_behind(
    shared: MemoryGlobalConfig, status: Status, *, answer: bool
) -> None:
    """No worker would take it back, and it would end the task at once when that is replayed."""
    storage: Any = _Storage("process", status)

    assert answer is await Control(_Broker("memory://", CONTEXT), storage, shared).cancel(new_uuid(), "why")
    assert [] == [value for value in (await _stands(shared)).values() if value is not None]


async def test_an_unknown_task_is_an_error(shared: MemoryGlobalConfig) -> None:
    """Where records are kept it can be told."""
    storage: Any = _Storage(None)

    with pytest.raises(ResultExpiredError, match="nothing is known of task"):
        await Control(_Broker("memory://", CONTEXT), storage, shared).cancel(new_uuid(), "why")
    assert {} == await _stands(shared)


async def test_a_mailbox_is_always_believed(shared: MemoryGlobalConfig) -> None:
    """It keeps no records, so the word goes out for any task."""
    mailbox: Any = object()
    broker: Any = object()
    uuid = new_uuid()

    assert await Control(broker, mailbox, shared).cancel(uuid, "why")
    assert {f"{CANCEL_PREFIX}{uuid}": b"why"} == await _stands(shared)


async def test_without_a_global_config_the_error_names_what_is_wanted() -> None:
    """For each of the things that need one."""
    broker: Any = object()
    control = Control(broker, broker, None)

    for call, what in (
        (control.cancel(new_uuid(), "why"), "cancel a running task"),
        (control.pause("a"), "pause a queue"),
        (control.resume("a"), "resume a queue"),
        (control.paused(), "list paused queues"),
    ):
        with pytest.raises(ConfigError, match=f"to {what} the workers must be reached: .* global_config_url="):
            await call


async def test_paused_queues_are_listed_by_name(shared: MemoryGlobalConfig) -> None:
    """Whatever is in a name; a queue that was resumed is not among them."""
    broker: Any = object()
    control = Control(broker, broker, shared)
    for queue in ("b", "a/1", "c"):
        await control.pause(queue)
    await control.resume("c")
    await control.resume("never paused")

    assert ["a/1", "b"] == await control.paused()
