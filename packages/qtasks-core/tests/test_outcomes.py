"""From how a run ended to what is written: records, verdicts, and ends that would break a naive worker."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, NoReturn, cast
from uuid import UUID

import msgspec
import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Ack, Dead, Delivery, Envelope, Message, Outcome, Release, Retry, TaskRecord
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import CodecError, PayloadTooLargeError
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.signatures import Signature
from qtasks_core.wire import RemoteError, frame, unpack_error
from qtasks_core.worker.execution import Plan, TaskExecution
from qtasks_core.worker.outcomes import OutcomeMaker, users_part
from qtasks_core.worker.threads import ThreadRunner

ID = UUID("0190a2b3-0000-7000-8000-000000000001")
CREATED, STARTED, NOW = 900.0, 950.0, 1000.0
ENVELOPE = Envelope(
    ID,
    "slow",
    b"body",
    priority=3,
    attempt=2,
    expires_at=5000.0,
    unique_key="unique",
    reply_to="mail",
    replays=1,
    created_at=CREATED,
)
COMMON: dict[str, Any] = {
    "uuid": ID,
    "task_name": "job",
    "queue": "slow",
    "attempt": 2,
    "replays": 1,
    "priority": 3,
    "created_at": CREATED,
    "updated_at": NOW,
    "finished_at": NOW,
    "worker": "worker-1",
    "body": b"body",
    "unique_key": "unique",
    "reply_to": "mail",
}


EXECUTOR = SERVICES = cast("Any", None)  # nothing runs here


def job() -> None: ...


def execution(
    result_ttl: float | None = None, asked: float | None = None, crashes: int = 0, dead_letter: bool | None = None
) -> TaskExecution:
    """Return a run that began at STARTED; *asked* is the call's own result_ttl."""
    app = QueueTasks("test", "memory://", config=QueueConfig(result_ttl=100))
    plan = Plan(TaskDefinition(job, result_ttl=result_ttl, dead_letter=dead_letter), app.core, EXECUTOR, SERVICES)
    message = Message("job", b"", b"", result_ttl_s=asked)
    return TaskExecution(plan, Delivery(ENVELOPE, token=None, crashes=crashes), message, STARTED)


def maker(**config: Any) -> OutcomeMaker:
    return OutcomeMaker("worker-1", QueueConfig(**{"result_ttl": 100, **config}), DEFAULT_SERIALIZER)


def record_of(outcome: Outcome) -> TaskRecord:
    assert outcome.record is not None
    return outcome.record


def caught(error: BaseException) -> BaseException:
    """Return it as a task would raise it: with a traceback of this file."""

    def users_function() -> NoReturn:
        raise error

    try:
        users_function()
    except BaseException as raised:  # noqa: BLE001  # any end of a task
        return raised


# ---------------------------------------------------------------- success


def test_a_result_is_kept_in_its_record() -> None:
    """Framed as a body is, with its codec, for as long as results are kept; the delivery is done."""
    run = execution()
    outcome = maker().success(run, {"x": [1]}, NOW)
    result = frame(DEFAULT_SERIALIZER.encode({"x": [1]}))

    assert Outcome(run.delivery, Ack(), outcome.record) == outcome
    assert TaskRecord(**COMMON, status="success", started_at=STARTED, ttl_s=100.0, result=result) == outcome.record


@pytest.mark.parametrize(
    ("app", "task", "call", "expected"),
    [(100, None, None, 100), (100, 50, None, 50), (100, 50, 7, 7), (100, 0, 7, 7), (100, 50, 0, 0), (100, 0, None, 0)],
)
def test_a_result_is_kept_as_long_as_the_call_the_task_or_the_app_say(
    app: float, task: float | None, call: float | None, expected: float
) -> None:
    """In this order; where nobody will ask, nothing is encoded or kept."""
    outcome = maker(result_ttl=app).success(execution(task, call), 1, NOW)

    assert expected == record_of(outcome).ttl_s
    assert (expected == 0) == (record_of(outcome).result is None)


def test_a_result_nobody_asks_for_may_be_anything() -> None:
    """results=False: it is not even encoded."""
    assert "success" == record_of(maker().success(execution(asked=0), threading.Lock(), NOW)).status


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (
            threading.Lock(),
            CodecError,
            "the result of task 'job' cannot be encoded as msgpack: _thread.lock is no type",
        ),
        (_nested(9), CodecError, "the result of task 'job' nested deeper than max_depth (7); flatten the data"),
        (
            b"x" * 2000,
            PayloadTooLargeError,
            (
                "the result of task 'job' has 2,009 bytes, max_message_bytes is 1,000; "
                "return a reference to the data (a path, a key)"
            ),
        ),
    ],
    ids=["type", "depth", "size"],
)
def test_a_result_that_cannot_be_kept_names_task_and_reason(result: Any, kind: type[Exception], message: str) -> None:
    """The worker makes an error of it: the task never runs into a crash loop."""
    with pytest.raises(kind) as raised:
        maker(max_depth=7, max_message_bytes=1000).success(execution(), result, NOW)

    assert str(raised.value).startswith(message)


# ---------------------------------------------------------------- error


def test_an_error_is_kept_as_words_and_its_message_as_dead_letter() -> None:
    """Class, message, and a traceback that begins in the task's own code."""
    run = execution()
    outcome = maker().error(run, caught(ValueError("no")), NOW)
    record = record_of(outcome)
    error = unpack_error(record.error or b"")

    assert Outcome(run.delivery, Dead("ValueError: no"), record) == outcome
    assert (
        TaskRecord(**COMMON, status="error", started_at=STARTED, ttl_s=100.0, error=record.error, dead_lettered=True)
        == record
    )
    assert ("ValueError", "no") == (error.type_name, error.message)
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "users_function" in error.traceback
    assert error.traceback.endswith("ValueError: no\n")


def test_without_dead_letters_an_error_is_done() -> None:
    """dead_letter=False: the record alone tells of it."""
    outcome = maker().error(execution(dead_letter=False), ValueError("no"), NOW)

    assert Ack() == outcome.verdict
    assert ("error", False) == (record_of(outcome).status, record_of(outcome).dead_lettered)


def test_an_error_of_a_library_has_its_full_name() -> None:
    """A client sees which class it was; it is never imported there."""
    error = unpack_error(record_of(maker().error(execution(), CodecError("x"), NOW)).error or b"")

    assert "qtasks_core.errors.CodecError" == error.type_name


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("mute")


class _WrongError(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307  # that is what is wrong


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_MuteError(), "(its message cannot be shown: RuntimeError('mute'))"),
        (_WrongError(), "(its message cannot be shown: TypeError('__str__ returned non-string (type int)'))"),
        (ValueError("\udc80"), "\\udc80"),
        (ValueError(), ""),
        (SystemExit(3), "3"),
        (KeyboardInterrupt(), ""),
    ],
    ids=lambda one: type(one).__name__,
)
def test_an_error_with_an_odd_message_is_an_end_like_any_other(error: BaseException, message: str) -> None:
    """Record and reason are fit to be stored, whatever its own str() does."""
    outcome = maker().error(execution(), caught(error), NOW)
    verdict = outcome.verdict
    assert isinstance(verdict, Dead)

    assert message == unpack_error(record_of(outcome).error or b"").message
    assert f"{type(error).__name__}: {message}" == verdict.reason
    assert verdict.reason.encode()


def test_a_long_message_makes_a_short_reason() -> None:
    """The record has more of it."""
    verdict = maker().error(execution(), ValueError("x" * 10_000), NOW).verdict

    assert isinstance(verdict, Dead)
    assert 500 == len(verdict.reason)


def test_the_cause_of_an_error_is_kept() -> None:
    """As Python shows it."""
    second = ValueError("second")
    second.__cause__ = caught(KeyError("first"))
    error = unpack_error(record_of(maker().error(execution(), caught(second), NOW)).error or b"")

    assert "KeyError: 'first'" in error.traceback
    assert "The above exception was the direct cause" in error.traceback


def test_the_workers_own_frames_are_not_shown() -> None:
    """A traceback begins where the task does; one that has nothing else is shown as it is."""

    def users_function() -> NoReturn:
        raise ValueError("no")

    async def in_a_thread() -> BaseException:
        runner = ThreadRunner(asyncio.get_running_loop(), 1, "test outcomes")
        with pytest.raises(ValueError, match="no") as raised:
            await runner.run(users_function, (), {})
        runner.close()
        return raised.value

    error = asyncio.run(in_a_thread())
    part = users_part(error.__traceback__)
    assert part is not None

    with pytest.raises(TypeError) as own:
        Signature(users_function, "f").check((1,), {})
    inner = own.value.__traceback__
    assert inner is not None

    assert __file__ == part.tb_frame.f_code.co_filename
    assert inner.tb_next is users_part(inner.tb_next)
    assert users_part(None) is None


# ---------------------------------------------------------------- other ends


def test_a_cancelled_run_is_done_with_its_reason() -> None:
    """It is no error, and no dead letter."""
    run = execution()
    outcome = maker().cancelled(run, "expired before it started", NOW)
    expected = TaskRecord(
        **COMMON, status="cancel", started_at=STARTED, ttl_s=100.0, reason="expired before it started"
    )

    assert Outcome(run.delivery, Ack(), expected) == outcome


def test_any_reason_can_be_stored() -> None:
    """Raised by a task with the name of a file in it, for instance."""
    assert "no \\udc80" == record_of(maker().cancelled(execution(), "no \udc80", NOW)).reason


def test_a_dead_task_keeps_reason_and_message() -> None:
    """It never ran, so nothing has started."""
    delivery = Delivery(ENVELOPE, token=None)
    outcome = maker().dead(delivery, "nobody knows it", NOW, "job")
    expected = TaskRecord(**COMMON, status="dead", ttl_s=100.0, reason="nobody knows it", dead_lettered=True)

    assert Outcome(delivery, Dead("nobody knows it"), expected) == outcome
    assert "" == record_of(maker().dead(delivery, "its body is unreadable", NOW)).task_name


def test_what_is_unreadable_has_no_record() -> None:
    """Nothing is known that could be in one."""
    delivery = Delivery(None, token=None, raw=b"junk")

    assert Outcome(delivery, Dead("undecodable")) == maker().dead(delivery, "undecodable", NOW)


def test_a_parked_task_rests_as_the_same_attempt() -> None:
    """Its crashes go with it; the time since when it is parked does not begin anew."""
    delivery = Delivery(msgspec.structs.replace(ENVELOPE, due_at=1.0), token=None, crashes=2)
    assert delivery.envelope is not None
    outcome = maker(park_delay=7).parked(delivery, delivery.envelope, NOW)
    again = msgspec.structs.replace(ENVELOPE, parked_at=NOW, crashes=2, delay_s=7.0, due_at=None)

    assert Outcome(delivery, Retry(again)) == outcome
    later = maker(park_delay=7).parked(Delivery(again, token=None, crashes=2), again, NOW + 60)
    assert Retry(again) == later.verdict


def test_a_released_task_is_as_it_was() -> None:
    """Uncharged; at once, or after a while."""
    delivery = Delivery(ENVELOPE, token=None, crashes=1)

    assert Outcome(delivery, Release()) == maker().released(delivery)
    assert Outcome(delivery, Release(2.5)) == maker().released(delivery, 2.5)


@pytest.mark.parametrize(
    ("status", "dead_lettered", "reason", "verdict"),
    [
        ("success", False, None, Ack()),
        ("cancel", False, "x", Ack()),
        ("error", False, None, Ack()),
        ("error", True, None, Dead("it ended with status error")),
        ("dead", True, "why", Dead("why")),
    ],
)
def test_a_task_that_had_ended_is_settled_as_its_record_implies(
    status: Any, dead_lettered: bool, reason: str | None, verdict: Ack | Dead
) -> None:
    """No second record: the first one stays."""
    final = TaskRecord(
        uuid=ID, task_name="job", queue="slow", status=status, dead_lettered=dead_lettered, reason=reason
    )
    delivery = Delivery(ENVELOPE, token=None, suspect=True)

    assert Outcome(delivery, verdict) == maker().settled_before(delivery, final)


def test_the_record_of_a_run_that_goes_on() -> None:
    """Started, not finished."""
    expected = TaskRecord(
        **{**COMMON, "updated_at": STARTED, "finished_at": None}, status="process", started_at=STARTED, ttl_s=100.0
    )

    assert expected == maker().process(ENVELOPE, "job", STARTED)


def test_errors_are_words_only() -> None:
    """Nothing in a record names a class to import."""
    error = unpack_error(record_of(maker().error(execution(), ValueError("no"), NOW)).error or b"")

    assert isinstance(error, RemoteError)
    assert {str} == {type(value) for value in msgspec.structs.asdict(error).values()}
