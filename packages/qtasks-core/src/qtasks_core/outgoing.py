"""From a call to what travels: a draft of values, then a record and an envelope of bytes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Envelope, Message
from qtasks_core.errors import CodecError, PayloadTooLargeError
from qtasks_core.messages import waiting_record
from qtasks_core.naming import new_uuid
from qtasks_core.options import Draft
from qtasks_core.serializers import check_depth, no_members, tells_depth
from qtasks_core.wire import pack_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import Serializer, TaskRecord
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.options import CallOptions

__all__ = ["DraftEncoder", "draft_call"]


def draft_call(
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    options: CallOptions,
    definition: TaskDefinition | None,
    config: QueueConfig,
    now: float,
) -> Draft:
    """Make the draft of a call: the call's options first, then the task's, then the app's.

    Parameters:
        name: The task's name; it may be unknown here.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        options: What the caller asked for.
        definition: The task as registered here, or None.
        config: The app's settings.
        now: UTC epoch seconds.
    """
    queue, priority, result_ttl_s, unique_ttl_s = config.queues[0], 0, None, None
    if definition is not None:
        queue, priority, result_ttl_s = definition.queue or queue, definition.priority, definition.result_ttl
        unique_ttl_s = definition.options["unique_ttl"]
    if not options:
        return Draft(
            task_name=name,
            args=args,
            kwargs=kwargs,
            uuid=new_uuid(),
            queue=queue,
            priority=priority,
            result_ttl_s=result_ttl_s,
        )
    return Draft(
        task_name=name,
        args=args,
        kwargs=kwargs,
        uuid=options.get("uuid") or new_uuid(),
        queue=options.get("queue") or queue,
        priority=_first(options.get("priority"), priority),
        delay_s=options.get("delay") or 0.0,
        due_at=_due_at(options),
        expires_at=_expires_at(options.get("expires"), now),
        headers=options.get("headers") or {},
        result_ttl_s=_result_ttl_s(options, result_ttl_s),
        timeout_s=options.get("timeout"),
        retry=options.get("retry"),
        key=options.get("key"),
        unique_key=options.get("unique_key"),
        unique_ttl_s=options.get("unique_ttl", unique_ttl_s),
    )


class DraftEncoder:
    """Makes bytes of drafts.

    Parameters:
        serializer: For arguments.
        config: The app's settings.
    """

    def __init__(self, serializer: Serializer, config: QueueConfig) -> None:
        self._serializer = serializer
        self._no_kwargs = no_members(serializer.codec)
        self._max_depth = config.max_depth
        self._max_bytes = config.max_message_bytes
        self._flat_bytes = config.max_depth if tells_depth(serializer.codec) else -1

    def encode(self, draft: Draft, now: float, reply_to: str | None) -> tuple[TaskRecord, Envelope]:
        """Return the record and the envelope of a draft.

        Parameters:
            draft: The call.
            now: UTC epoch seconds.
            reply_to: Where its submitter waits.

        Raises:
            CodecError: An argument cannot be encoded, or is nested deeper than `max_depth`.
            PayloadTooLargeError: The body is larger than `max_message_bytes`.
        """
        ttl_s, kwargs = draft.result_ttl_s, self._no_kwargs
        if draft.kwargs or kwargs is None:
            kwargs = self._encode(draft, "keyword arguments", draft.kwargs)
        message = Message(
            draft.task_name,
            self._encode(draft, "arguments", draft.args),
            kwargs,
            self._serializer.codec,
            draft.timeout_s,
            ttl_s,
            headers=draft.headers,
            retry=draft.retry,
        )
        body = pack_message(message)
        if len(body) > self._max_bytes:
            raise _too_large(draft.task_name, len(body), self._max_bytes)
        envelope = Envelope(
            draft.uuid,
            draft.queue,
            body,
            draft.priority,
            1,
            draft.delay_s,
            draft.due_at,
            draft.expires_at,
            draft.key,
            draft.unique_key,
            reply_to=None if ttl_s == 0 else reply_to,
            created_at=now,
        )
        record = waiting_record(envelope, draft.task_name, ttl_s)
        record.unique_ttl_s = draft.unique_ttl_s
        return record, envelope

    def _encode(self, draft: Draft, what: str, value: object) -> bytes:
        try:
            raw = self._serializer.encode(value)
            if len(raw) > self._flat_bytes:
                check_depth(raw, value, self._max_depth, around=1, codec=self._serializer.codec)
        except CodecError as error:
            raise CodecError(f"task {draft.task_name!r}: its {what} {error}") from None
        return raw


def _too_large(name: str, size: int, limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"task {name!r}: the message has {size:,} bytes, max_message_bytes is {limit:,}; "
        "pass a reference to the data (a path, a key), or raise the setting on every client and worker"
    )


def _first(asked: int | None, default: int) -> int:
    return default if asked is None else asked


def _due_at(options: CallOptions) -> float | None:
    eta = options.get("eta")
    return None if eta is None else eta.timestamp()


def _expires_at(expires: float | dt.datetime | None, now: float) -> float | None:
    if expires is None:
        return None
    return expires.timestamp() if isinstance(expires, dt.datetime) else now + expires


def _result_ttl_s(options: CallOptions, default: float | None) -> float | None:
    return options.get("result_ttl", default) if options.get("results", True) else 0.0
