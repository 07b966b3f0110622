"""From a call to what travels: whose option counts, what record and envelope hold, what is refused beforehand."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any
from uuid import UUID

import msgspec
import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.contract import Envelope, Message, TaskRecord
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import CodecError, PayloadTooLargeError, SendRefusedError
from qtasks_core.options import Draft, checked_call
from qtasks_core.outgoing import DraftEncoder, draft_call
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.wire import unpack_message

ID = UUID("0190a2b3-0000-7000-8000-000000000001")
NOW = 1_000_000.0
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
CONFIG = QueueConfig(queues=("first", "second"))


def job(a: int) -> int:
    return a


PLAIN = TaskDefinition(job)
SPECIAL = TaskDefinition(job, name="special", queue="tasks", priority=5, result_ttl=60)


def draft(definition: TaskDefinition | None = PLAIN, **options: Any) -> Draft:
    name = "other" if definition is None else definition.name
    given: Any = options
    chosen: Any = {"options": checked_call(given)}
    return draft_call(name, (1,), {}, definition=definition, config=CONFIG, now=NOW, **chosen)


def encoded(one: Draft, config: QueueConfig = CONFIG, reply_to: str | None = "mail") -> tuple[TaskRecord, Envelope]:
    return DraftEncoder(DEFAULT_SERIALIZER, config).encode(one, NOW, reply_to)


# ---------------------------------------------------------------- whose option counts


@pytest.mark.parametrize(
    ("definition", "options", "expected"),
    [
        (None, {}, ("first", 0, None)),
        (PLAIN, {}, ("first", 0, None)),
        (SPECIAL, {}, ("tasks", 5, 60)),
        (SPECIAL, {"headers": {}}, ("tasks", 5, 60)),
        (SPECIAL, {"queue": "call", "priority": 0, "result_ttl": 0}, ("call", 0, 0)),
        (None, {"queue": "call", "priority": -1, "result_ttl": 7}, ("call", -1, 7)),
        (SPECIAL, {"results": False}, ("tasks", 5, 0)),
        (SPECIAL, {"results": False, "result_ttl": 7}, ("tasks", 5, 0)),
    ],
)
def test_the_calls_option_counts_then_the_tasks_then_the_apps(
    definition: TaskDefinition | None, options: dict[str, Any], expected: tuple[str, int, float | None]
) -> None:
    """Queue, priority, result_ttl; 0 is a value like any other."""
    found = draft(definition, **options)

    assert expected == (found.queue, found.priority, found.result_ttl_s)


def test_a_call_has_an_id_of_its_own() -> None:
    """Unless the caller chose one."""
    assert draft().uuid != draft().uuid
    assert draft(priority=1).uuid != draft(priority=1).uuid
    assert ID == draft(uuid=ID).uuid


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (0.0, None, None)),
        ({"delay": 3}, (3.0, None, None)),
        ({"eta": NOON}, (0.0, NOON.timestamp(), None)),
        ({"expires": 60}, (0.0, None, NOW + 60)),
        ({"expires": NOON}, (0.0, None, NOON.timestamp())),
    ],
)
def test_times_become_seconds(options: dict[str, Any], expected: tuple[float, float | None, float | None]) -> None:
    """A delay stays relative, for the server's clock; an expiry counts from now."""
    found = draft(**options)

    assert expected == (found.delay_s, found.due_at, found.expires_at)


def test_a_time_without_a_zone_is_local() -> None:
    """As Python has it."""
    naive = dt.datetime(2026, 1, 2, 12)  # noqa: DTZ001

    assert naive.timestamp() == draft(eta=naive).due_at


def test_arguments_are_not_touched() -> None:
    """A draft holds values: triggers see what the caller gave."""
    args, kwargs = ([1],), {"b": {2}}
    found = draft_call("a", args, kwargs, options={}, definition=None, config=CONFIG, now=NOW)

    assert found.args is args
    assert found.kwargs is kwargs


# ---------------------------------------------------------------- what travels


def test_record_and_envelope_of_a_call() -> None:
    """All that servers and workers need, nothing twice that could differ."""
    record, envelope = encoded(draft(SPECIAL, uuid=ID, delay=3, expires=60, headers={"tenant": "x"}))

    assert Envelope(ID, "tasks", envelope.body, 5, 1, 3.0, None, NOW + 60, reply_to="mail", created_at=NOW) == envelope
    assert (
        TaskRecord(
            uuid=ID,
            task_name="special",
            queue="tasks",
            status="new",
            priority=5,
            created_at=NOW,
            updated_at=NOW,
            body=envelope.body,
            ttl_s=60,
            reply_to="mail",
        )
        == record
    )
    encode = DEFAULT_SERIALIZER.encode
    message = Message("special", encode((1,)), encode({}), result_ttl_s=60, headers={"tenant": "x"})
    assert message == unpack_message(envelope.body)


def test_nobody_is_answered_when_nobody_asks() -> None:
    """results=False: the envelope has no reply address, the message says to keep no result."""
    record, envelope = encoded(draft(results=False))

    assert (None, None) == (envelope.reply_to, record.reply_to)
    assert (0, 0) == (unpack_message(envelope.body).result_ttl_s, record.ttl_s)


def test_a_changed_draft_travels_as_changed() -> None:
    """Triggers change drafts; the bytes are made after them."""
    one = draft(uuid=ID)
    one.queue, one.priority, one.args = "elsewhere", 7, (2,)
    record, envelope = encoded(one)

    assert ("elsewhere", 7) == (envelope.queue, envelope.priority) == (record.queue, record.priority)
    assert DEFAULT_SERIALIZER.encode((2,)) == unpack_message(envelope.body).args


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("field", "what"), [("args", "arguments"), ("kwargs", "keyword arguments")], ids=["args", "kwargs"]
)
def test_a_value_that_cannot_travel_names_task_and_type(field: str, what: str) -> None:
    """And whether it was given by position or by name."""
    value: Any = (threading.Lock(),) if field == "args" else {"lock": threading.Lock()}
    with pytest.raises(CodecError) as caught:
        encoded(msgspec.structs.replace(draft(), **{field: value}))

    assert (
        f"task 'job': its {what} cannot be encoded as msgpack: _thread.lock is no type that can travel; "
        "pass plain data, a dataclass or a msgspec Struct"
    ) == str(caught.value)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_an_argument_may_be_nested_as_deep_as_max_depth() -> None:
    """The list of arguments itself does not count; deeper is refused with the setting's name."""
    config = QueueConfig(max_depth=5)
    encoded(msgspec.structs.replace(draft(), args=(_nested(5),)), config)
    with pytest.raises(CodecError) as caught:
        encoded(msgspec.structs.replace(draft(), args=(_nested(6),)), config)

    assert (
        "task 'job': its arguments nested deeper than max_depth (5); flatten the data, or raise the setting everywhere"
    ) == str(caught.value)


def test_a_message_that_is_too_large_names_size_setting_and_way_out() -> None:
    """It is a SendRefusedError: certainly not queued. One byte less passes."""
    one = msgspec.structs.replace(draft(), args=("x" * 2000,))
    _, envelope = encoded(one)
    size = len(envelope.body)
    encoded(one, QueueConfig(max_message_bytes=size))
    with pytest.raises(PayloadTooLargeError) as caught:
        encoded(one, QueueConfig(max_message_bytes=size - 1))

    assert (
        f"task 'job': the message has {size:,} bytes, max_message_bytes is {size - 1:,}; "
        "pass a reference to the data (a path, a key), or raise the setting on every client and worker"
    ) == str(caught.value)
    assert isinstance(caught.value, SendRefusedError)
