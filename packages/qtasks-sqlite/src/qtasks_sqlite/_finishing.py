"""Ending deliveries: record and verdict of each in one step, if the delivery is still held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import astuple

from qtasks_core.contract import Ack, Dead, Delivery, Release, Retry
from qtasks_core.errors import AlreadyFinal, FencedError, RefusedError
from qtasks_sqlite._adding import TaskRow, add, insert
from qtasks_sqlite._rows import (
    DEAD,
    DELAYED,
    FINAL,
    READY,
    RUNNING,
    SETTLED,
    STATUS_CODES,
    due_of,
    to_micros,
    write_envelope,
    write_record,
)
from qtasks_sqlite._transaction import OneByOne, Transaction
from qtasks_sqlite._values import execute_flat, execute_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.contract import Outcome, TaskRecord

__all__ = ["Ending", "Token", "finish", "finish_quick", "new_ending", "quick_rows"]

HELD = f"""
    state = {RUNNING} AND lease = column2 AND turn = column3 AND uuid = column4 AND (status IS NULL OR status < {FINAL})"""
KEEP = f"""
    UPDATE tasks SET state = {SETTLED}, lease = NULL, unique_key = NULL,
        status = column5, expires = column6, record = column7
    FROM (/*VALUES*/) WHERE id = column1 AND {HELD}"""
QUICK_WIDTH = 7
DROP = f"""
    DELETE FROM tasks WHERE id IN (SELECT id FROM (/*VALUES*/) CROSS JOIN tasks ON id = column1 WHERE {HELD})"""
OWNED = f"""
    SELECT status FROM tasks WHERE id = ? AND state = {RUNNING} AND lease = ? AND turn = ? AND uuid = coalesce(?, uuid)"""
RECORD = "UPDATE tasks SET status = ?, record = ? WHERE id = ?"
# An acknowledged message leaves its record, if that is final; what nobody asked for, or never ended, leaves nothing.
KEEP_FINAL = f"""
    UPDATE tasks SET state = {SETTLED}, lease = NULL, expires = coalesce(expires, ?)
    WHERE id = ? AND status >= {FINAL}"""
FORGET = "DELETE FROM tasks WHERE id = ?"
RETRY = """
    UPDATE tasks SET state = ?, queue = ?, priority = ?, pos = ?, data = ?, lease = NULL, crashes = 0 WHERE id = ?"""
RELEASE = "UPDATE tasks SET state = ?, pos = coalesce(?, pos), lease = NULL WHERE id = ?"
BURY = f"""
    UPDATE tasks SET state = {DEAD}, pos = ?, reason = ?, lease = NULL, expires = NULL, unique_key = NULL
    WHERE id = ?"""


class Token(Struct, frozen=True, gc=False):
    """What says, for a delivery, which row it is, under which registration it is held, and by which claim."""

    id: int
    lease: int
    turn: int
    uuid: bytes | None  # None: the message is unreadable


class Ending(NamedTuple):
    """An outcome, encoded on the caller's loop.

    Parameters:
        token: The delivery's.
        outcome: What becomes of it.
        status: Of the record; None: no record is written.
        expires: When the record goes, in microseconds; None: not by time.
        record: The record, encoded; None with a status: a final one that is not kept.
        requeue: Where a Retry goes: state, queue, priority, pos, data.
        sends: Follow-ups.
    """

    token: Token
    outcome: Outcome
    status: int | None
    expires: int | None
    record: bytes | None
    requeue: tuple[int, int, int, int, bytes] | None
    sends: Sequence[TaskRow]


def new_ending(
    outcome: Outcome, queues: Mapping[str, int], now: float, result_ttl: float, sends: Sequence[TaskRow], *, fused: bool
) -> Ending:
    """Encode an outcome.

    Parameters:
        outcome: What becomes of a delivery.
        queues: Numbers of the queues.
        now: Epoch seconds.
        result_ttl: How long a final record is kept that does not say, in seconds.
        sends: Its follow-ups.
        fused: False: the record is kept by another storage.
    """
    record = outcome.record if fused else None
    status = expires = blob = None
    if record is not None:
        status = STATUS_CODES[record.status]
        ttl = result_ttl if record.ttl_s is None else record.ttl_s
        if status < FINAL or ttl > 0 or isinstance(outcome.verdict, Dead):
            blob = write_record(record, body=False)
            expires = to_micros(now + ttl) if status >= FINAL else None
    token = _token_of(outcome.delivery)
    requeue = _requeue(outcome.verdict, queues, now) if isinstance(outcome.verdict, Retry) else None
    return Ending(token, outcome, status, expires, blob, requeue, sends)


def quick_rows(outcomes: Sequence[Outcome], now: float, result_ttl: float) -> tuple[list[Any], list[Outcome]]:
    """Encode the outcomes that are as most are: acknowledged, with a final record to keep and no follow-ups.

    Returns:
        Their values, QUICK_WIDTH for each; and the other outcomes.
    """
    values: list[Any] = []
    others: list[Outcome] = []
    usual_end = to_micros(now + result_ttl)
    for outcome in outcomes:
        record, token = outcome.record, outcome.delivery.token
        if record is None or outcome.sends or type(outcome.verdict) is not Ack or type(token) is not Token:
            others.append(outcome)
            continue
        status = STATUS_CODES[record.status]
        ttl = record.ttl_s
        end = usual_end if ttl is None else to_micros(now + ttl)
        if status < FINAL or end <= to_micros(now):
            others.append(outcome)
            continue
        values += (token.id, token.lease, token.turn, token.uuid, status, end, write_record(record, body=False))
    return values, others


def finish_quick(transaction: Transaction, values: Sequence[Any], records: Sequence[TaskRecord]) -> None:
    """Apply the outcomes that quick_rows() encoded.

    Raises:
        OneByOne: Not all of them are held, or one has a final record already; finish() tells which.
    """
    changed = execute_flat(transaction.connection, KEEP, QUICK_WIDTH, values).rowcount
    if changed != len(records):
        raise OneByOne
    transaction.effects.final += records


def finish(transaction: Transaction, ns: int, endings: Sequence[Ending], now: float) -> list[Exception | None]:
    """Apply endings: follow-ups, records and verdicts."""
    if transaction.careful:
        return transaction.each(endings, lambda ending: _finish_one(transaction, ns, ending, now))
    drop = [astuple(ending.token) for ending in endings if _is_dropped(ending)]
    if drop and execute_values(transaction.connection, DROP, drop).rowcount != len(drop):
        raise OneByOne
    for ending in endings:
        if not _is_dropped(ending) and _settle(transaction, ending, now) is not None:
            raise OneByOne
    _send(transaction, ns, endings)
    transaction.effects.final += [record for ending in endings if (record := _final_record(ending)) is not None]
    return [None] * len(endings)


def _final_record(ending: Ending) -> TaskRecord | None:
    return ending.outcome.record if ending.status is not None and ending.status >= FINAL else None


def _is_dropped(ending: Ending) -> bool:
    return ending.record is None and isinstance(ending.outcome.verdict, Ack)


def _send(transaction: Transaction, ns: int, endings: Sequence[Ending]) -> None:
    sends = [task for ending in endings for task in ending.sends]
    if sends:
        insert(transaction, ns, sends)


def _finish_one(transaction: Transaction, ns: int, ending: Ending, now: float) -> Exception | None:
    answer = _settle(transaction, ending, now)
    if answer is not None:
        return answer  # the follow-ups of an end that does not count do not count either
    for task in ending.sends:
        failed = add(transaction, ns, [task], now)[0]  # a follow-up that is there already was sent before
        if isinstance(failed, RefusedError):
            raise failed
    record = _final_record(ending)
    if record is not None:
        transaction.effects.final.append(record)
    return None


def _settle(transaction: Transaction, ending: Ending, now: float) -> Exception | None:
    execute = transaction.connection.execute
    owned = execute(OWNED, astuple(ending.token)).fetchone()
    if owned is None:
        return FencedError("the delivery was taken over")
    answer: Exception | None = None
    if ending.status is not None:
        if owned[0] is not None and owned[0] >= FINAL:
            answer = AlreadyFinal("an earlier final record stays")
        else:
            execute(RECORD, (ending.status, ending.record, ending.token.id))
    forget = answer is None and ending.status is not None and ending.record is None
    _apply_verdict(transaction, ending, now, forget=forget)
    return answer


def _apply_verdict(transaction: Transaction, ending: Ending, now: float, *, forget: bool) -> None:
    execute = transaction.connection.execute
    verdict = ending.outcome.verdict
    id_ = ending.token.id
    match verdict:
        case Ack():
            if forget or not execute(KEEP_FINAL, (ending.expires, id_)).rowcount:
                execute(FORGET, (id_,))
        case Retry():
            execute(RETRY, (*(ending.requeue or ()), id_))
            transaction.effects.ready = True
        case Release():
            due = to_micros(now + verdict.delay_s) if verdict.delay_s > 0 else None
            execute(RELEASE, (READY if due is None else DELAYED, due, id_))
            transaction.effects.ready = True
        case Dead():
            execute(BURY, (to_micros(now), verdict.reason, id_))
        case _:
            assert_never(verdict)


def _requeue(verdict: Retry, queues: Mapping[str, int], now: float) -> tuple[int, int, int, int, bytes]:
    envelope = verdict.envelope
    due = due_of(envelope, now)
    state, pos = (READY, now) if due is None else (DELAYED, due)
    return state, queues[envelope.queue], envelope.priority, to_micros(pos), write_envelope(envelope)


def _token_of(delivery: Delivery) -> Token:
    if not isinstance(delivery.token, Token):
        raise RefusedError(f"not a delivery of SQLite: token {delivery.token!r}")
    return delivery.token
