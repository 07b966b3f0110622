"""What arrives: it runs, rests for another worker, or ends with a reason; nothing stops the worker."""

from __future__ import annotations

import logging
from typing import Any, cast

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Ack, Dead, Delivery, Envelope, Message, Outcome, Retry
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import CodecError
from qtasks_core.naming import new_uuid
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.wire import pack_message
from qtasks_core.worker.execution import Plan, TaskExecution
from qtasks_core.worker.intake import Intake
from qtasks_core.worker.outcomes import OutcomeMaker

NOW = 1_000_000.0
encode = DEFAULT_SERIALIZER.encode
EXECUTOR = SERVICES = cast("Any", None)  # nothing runs here


def job(x: int) -> int:
    return x


def intake(**config: Any) -> Intake:
    settings = QueueConfig(**config)
    app = QueueTasks("test", "memory://", config=settings)
    plan = Plan(TaskDefinition(job), app.core, EXECUTOR, SERVICES)
    return Intake({"job": plan}, OutcomeMaker("worker-1", settings, DEFAULT_SERIALIZER), settings)


def delivery(name: str = "job", *, body: bytes | None = None, crashes: int = 0, **fields: Any) -> Delivery:
    body = pack_message(Message(name, encode((1,)), encode({}))) if body is None else body
    return Delivery(Envelope(new_uuid(), "q", body, **fields), token=None, crashes=crashes)


def outcome(found: TaskExecution | Outcome) -> Outcome:
    assert isinstance(found, Outcome)
    return found


def test_a_known_task_runs() -> None:
    """With its plan, its message, and the time at which it began."""
    one = delivery()
    found = intake().open(one, NOW)

    assert isinstance(found, TaskExecution)
    assert ("job", job, one, NOW) == (found.task_name, found.function, found.delivery, found.started_at)
    assert ((1,), {}) == found.plan.decode(found.message)


def test_an_undecodable_delivery_is_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    """Its bytes are kept by the broker; the log has their number, not their content."""
    one = Delivery(None, token=None, raw=b"secret junk")

    assert Outcome(one, Dead("the envelope is undecodable")) == intake().open(one, NOW)
    assert "an undecodable message of 11 bytes is dead-lettered" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "expected a body that begins with c151, got nothing"),
        (b"junk", "expected a body that begins with c151, got 6a756e6b"),
        (pack_message(Message("job", b"", b""))[:-3], "the body is damaged: Input data was truncated"),
        (b"\xc1Q\x01\0\0\0\x93\xa1\x80\xc4\0\xc4\0", "the body is damaged: 'utf-8' codec can't decode byte 0x80"),
    ],
)
def test_a_damaged_body_is_dead_lettered(body: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """With status dead and the reason, also in the log."""
    one = delivery(body=body)
    found = outcome(intake().open(one, NOW))
    verdict, record = found.verdict, found.record
    assert isinstance(verdict, Dead)
    assert record is not None
    assert one.envelope is not None

    assert verdict.reason.startswith(reason)
    assert ("dead", verdict.reason) == (record.status, record.reason)
    assert f"task {one.envelope.uuid} is dead-lettered: {reason}" in caplog.text


# ---------------------------------------------------------------- parked


def foreign_body(major: int = 1, flags: int = 0) -> bytes:
    raw = bytearray(pack_message(Message("job", encode((1,)), encode({}))))
    raw[2], raw[4] = major, flags
    return bytes(raw)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (delivery("other"), "no worker knows the task name 'other'"),
        (delivery(body=foreign_body(major=2)), "expected wire major 1, got 2"),
        (delivery(body=foreign_body(flags=1)), "expected no flags, got 0x01"),
    ],
    ids=["name", "major", "flags"],
)
def test_what_only_other_workers_can_run_is_parked(
    one: Delivery, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling deploy: it is put back as the same attempt, and the log says so once."""
    assert one.envelope is not None
    opening = intake(park_delay=7)
    again = msgspec.structs.replace(one.envelope, parked_at=NOW, delay_s=7.0)
    with caplog.at_level(logging.WARNING):
        assert Outcome(one, Retry(again)) == opening.open(one, NOW)
        opening.open(one, NOW)

    assert 1 == caplog.text.count(f"is parked for other workers: {reason}")


def test_what_was_parked_too_long_is_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    """After unknown_ttl, with the reason, the time and the setting; a moment before it is parked again."""
    opening = intake(unknown_ttl=3600)
    assert isinstance(outcome(opening.open(delivery("other", parked_at=NOW - 3599), NOW)).verdict, Retry)
    found = outcome(opening.open(delivery("other", parked_at=NOW - 3600), NOW))
    reason = "no worker knows the task name 'other', for 3600 s (unknown_ttl 3600)"

    assert Dead(reason) == found.verdict
    assert found.record is not None
    assert ("dead", reason, True) == (found.record.status, found.record.reason, found.record.dead_lettered)
    assert reason in caplog.text


def test_a_task_that_is_known_again_runs() -> None:
    """Having been parked leaves no trace."""
    assert isinstance(intake().open(delivery(parked_at=NOW - 1e6), NOW), TaskExecution)


def test_a_run_whose_arguments_cannot_be_read_is_parked() -> None:
    """A codec that is not installed here is found out when the arguments are decoded."""
    opening, one = intake(), delivery()
    found = opening.open(one, NOW)
    assert isinstance(found, TaskExecution)

    assert isinstance(opening.park(found, "expected one of the codecs msgpack, got 'x'", NOW).verdict, Retry)


def test_names_without_end_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Names come from payloads: what is remembered and logged of them is bounded; all are parked."""
    opening = intake()
    with caplog.at_level(logging.WARNING):
        for number in range(3000):
            assert isinstance(outcome(opening.open(delivery(f"name {number}"), NOW)).verdict, Retry)

    assert 1000 == len(caplog.records) == len(opening._unknown)


def test_a_name_without_end_is_cut() -> None:
    """Neither the log nor what is remembered or recorded grows with a payload."""
    opening = intake(unknown_ttl=10)
    opening.open(delivery("x" * 1_000_000), NOW)
    reason = outcome(opening.open(delivery("x" * 1_000_000, parked_at=NOW - 10), NOW)).verdict

    cut = f"no worker knows the task name '{'x' * 1000}"[:500]
    assert Dead(f"{cut}…, for 10 s (unknown_ttl 10)") == reason
    assert {501} == set(map(len, opening._unknown))


def test_a_message_that_no_broker_should_hand_over_is_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of a broker takes no slot, and nothing that arrived with the message."""
    envelope = Envelope(new_uuid(), "q", None)  # type: ignore[arg-type]
    one = Delivery(envelope, token=None)

    assert Outcome(one, Dead("it cannot be opened: TypeError(\"'NoneType' object is not subscriptable\")")) == (
        intake().open(one, NOW)
    )
    assert "a message that cannot be opened is dead-lettered" in caplog.text


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [("ab", {}, "`array`, got `str`"), ({"a": 1}, {}, "`array`, got `object`"), ([], [1], "`object`, got `array`")],
)
def test_arguments_are_a_list_and_a_mapping(args: Any, kwargs: Any, expected: str) -> None:
    """Anything else is no call: a text is not taken for its letters, a mapping not for its keys."""
    body = pack_message(Message("job", encode(args), encode(kwargs)))
    found = intake().open(delivery(body=body), NOW)

    assert isinstance(found, TaskExecution)
    with pytest.raises(CodecError, match=f"Expected {expected}"):
        found.plan.decode(found.message)


# ---------------------------------------------------------------- ends before it starts


def test_a_task_that_killed_its_workers_is_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    """At max_deliveries, with the number; below it runs."""
    opening = intake(max_deliveries=3)
    assert isinstance(opening.open(delivery(crashes=2), NOW), TaskExecution)
    one = delivery(crashes=3)
    found = outcome(opening.open(one, NOW))
    reason = "its worker died 3 times while it ran (max_deliveries 3)"
    assert one.envelope is not None
    assert found.record is not None

    assert Dead(reason) == found.verdict
    assert ("dead", "job", reason) == (found.record.status, found.record.task_name, found.record.reason)
    assert f"task job {one.envelope.uuid} is dead-lettered: {reason}" in caplog.text


def test_an_expired_task_is_not_started() -> None:
    """Status cancel with the reason; in the very moment of its expiry too."""
    opening = intake()
    for late in (0.0, 5.0):
        found = outcome(opening.open(delivery(expires_at=NOW - late), NOW))
        assert found.record is not None
        assert (Ack(), "cancel") == (found.verdict, found.record.status)
        assert "expired before it started" == found.record.reason
    assert isinstance(opening.open(delivery(expires_at=NOW + 0.1), NOW), TaskExecution)
