"""From how a run ended to what is written: records and outcomes."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qtasks_core.contract import Ack, Dead, Delivery, Envelope, Outcome, Release, Retry, TaskRecord
from qtasks_core.errors import RemoteTaskError, TaskProcessError, TaskTimeoutError
from qtasks_core.messages import envelope_of
from qtasks_core.wire import RemoteError, frame, pack_error
from qtasks_core.worker.results import ResultEncoder

if TYPE_CHECKING:
    from types import TracebackType

    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import Serializer, Status
    from qtasks_core.worker.execution import TaskExecution

__all__ = ["WITHOUT_PLACE", "OutcomeMaker", "describe", "users_part"]

logger = logging.getLogger("qtasks.worker")

WITHOUT_PLACE = (TaskProcessError, TaskTimeoutError)
"""What is raised by no line of the task's code: a traceback would show this project's."""
_REASON = 500
_OWN_CODE = str(Path(__file__).resolve().parents[1])


class OutcomeMaker:
    """Makes the outcomes of one worker.

    Parameters:
        worker: Its name, kept in records.
        config: The app's settings.
        serializer: For results.
    """

    def __init__(self, worker: str, config: QueueConfig, serializer: Serializer) -> None:
        self._worker = worker
        self._config = config
        self._results = ResultEncoder(serializer, config.max_depth, config.max_message_bytes)

    def success(self, execution: TaskExecution, result: object, now: float) -> Outcome:
        """Return the outcome of a task that returned.

        Raises:
            CodecError: The result cannot be encoded, or is nested too deep.
            PayloadTooLargeError: It is larger than `max_message_bytes`.
        """
        record = self._record_of(execution, "success", now)
        if record.ttl_s != 0:
            record.result = frame(self._results.encode(result, record.task_name))
            record.codec = self._results.codec
        return Outcome(execution.delivery, Ack(), record)

    def error(self, execution: TaskExecution, error: BaseException, now: float) -> Outcome:
        """Return the outcome of a task that raised."""
        record = self._record_of(execution, "error", now)
        words = describe(error)
        record.error = pack_error(words)
        if not execution.plan.dead_letter:
            return Outcome(execution.delivery, Ack(), record)
        record.dead_lettered = True
        return Outcome(execution.delivery, Dead(f"{type(error).__name__}: {words.message}"[:_REASON]), record)

    def retry(self, execution: TaskExecution, error: BaseException, delay_s: float, now: float) -> Outcome:
        """Run the task again, as the next attempt, after *delay_s* seconds."""
        record = self._record_of(execution, "retry", now)
        record.finished_at = None
        record.error = pack_error(describe(error))
        envelope = envelope_of(execution.delivery)
        again = msgspec.structs.replace(
            envelope,
            attempt=envelope.attempt + 1,
            crashes=execution.delivery.crashes,
            delay_s=delay_s,
            due_at=None,
            parked_at=None,
        )
        record.attempt = again.attempt  # what waits is the next one
        return Outcome(execution.delivery, Retry(again), record)

    def cancelled(self, execution: TaskExecution, reason: str, now: float) -> Outcome:
        """Return the outcome of a task that was cancelled, or expired before it started."""
        record = self._record_of(execution, "cancel", now)
        record.reason = _plain(reason)
        return Outcome(execution.delivery, Ack(), record)

    def dead(self, delivery: Delivery, reason: str, now: float, task_name: str = "") -> Outcome:
        """Return the outcome of a task that will never get to an end of its own."""
        envelope = delivery.envelope
        if envelope is None:
            return Outcome(delivery, Dead(reason))
        record = self._record(envelope, task_name, "dead", now)
        record.reason = reason
        record.dead_lettered = True
        return Outcome(delivery, Dead(reason), record)

    def parked(self, delivery: Delivery, envelope: Envelope, now: float) -> Outcome:
        """Put the task back for `park_delay`, as the same attempt, for a worker that knows it."""
        parked_at = envelope.parked_at or now
        again = msgspec.structs.replace(
            envelope,
            parked_at=parked_at,
            crashes=delivery.crashes,
            delay_s=self._config.park_delay,
            due_at=None,
        )
        return Outcome(delivery, Retry(again))

    def released(self, delivery: Delivery, delay_s: float = 0.0) -> Outcome:
        """Give the task back, uncharged."""
        return Outcome(delivery, Release(delay_s))

    def settled_before(self, delivery: Delivery, final: TaskRecord) -> Outcome:
        """Settle a task that had ended already, as its record implies."""
        if final.dead_lettered:
            return Outcome(delivery, Dead(final.reason or f"it ended with status {final.status}"))
        return Outcome(delivery, Ack())

    def process(self, envelope: Envelope, task_name: str, started_at: float) -> TaskRecord:
        """Return the record that says that a task runs."""
        record = self._record(envelope, task_name, "process", started_at)
        record.started_at, record.finished_at = started_at, None
        return record

    def _record_of(self, execution: TaskExecution, status: Status, now: float) -> TaskRecord:
        envelope = envelope_of(execution.delivery)
        record = self._record(envelope, execution.plan.name, status, now)
        asked = execution.message.result_ttl_s
        record.ttl_s = execution.plan.result_ttl if asked is None else asked
        record.started_at = execution.started_at
        record.progress = execution.progress
        if execution.is_truncated:
            record.extra = {"truncated": "true"}
        return record

    def _record(self, envelope: Envelope, task_name: str, status: Status, now: float) -> TaskRecord:
        return TaskRecord(
            uuid=envelope.uuid,
            task_name=task_name,
            queue=envelope.queue,
            status=status,
            attempt=envelope.attempt,
            replays=envelope.replays,
            priority=envelope.priority,
            created_at=envelope.created_at,
            updated_at=now,
            finished_at=now,
            worker=self._worker,
            body=envelope.body,
            unique_key=envelope.unique_key,
            ttl_s=self._config.result_ttl,
            reply_to=envelope.reply_to,
        )


def describe(error: BaseException) -> RemoteError:
    """Return an exception in words: its class, its message, and the traceback from the task's own code on."""
    if isinstance(error, RemoteTaskError):
        return RemoteError(error.type_name, error.message, error.traceback)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = _plain(str(error))
        trace = None if isinstance(error, WITHOUT_PLACE) else users_part(error.__traceback__)
        text = "".join(traceback.format_exception(kind, error, trace))
    except Exception as broken:  # noqa: BLE001  # an exception whose own str() raises is still an end of the task
        message, text = f"(its message cannot be shown: {broken!r})", ""
    return RemoteError(name, message, text)


def _plain(text: str) -> str:
    """Show escaped what no server can store: lone surrogates, as in the names of some files."""
    return text.encode("utf-8", "backslashreplace").decode()


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Begin the traceback at the task's own code; keep all of it when the error is this project's."""
    first = trace
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        trace = trace.tb_next
    return trace or first
