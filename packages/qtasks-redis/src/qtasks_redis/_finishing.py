"""Ending deliveries: from outcomes to the arguments of the script, and from its reply to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtasks_core.contract import FINAL, Ack, Dead, Release, Retry
from qtasks_core.errors import AlreadyFinal, FencedError, RefusedError, UnavailableError
from qtasks_core.item_errors import item_error
from qtasks_redis._adding import one_task
from qtasks_redis._lua import load
from qtasks_redis._values import (
    ITEM,
    LARGE,
    after,
    buried_value,
    due_of,
    encode,
    final_value,
    reserve,
    target_of,
    waiting_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtasks_core.contract import Delivery, Outcome, TaskRecord

__all__ = ["FINISH", "MEMBER", "Endings", "pack", "read_answers"]

FINISH = load("finish")
MEMBER = ITEM + 4  # item and turn; the target follows
STAGED = b">"
LOOK = b"L\0\0\0\0"
MAIL_BYTES = 4096  # a larger record is fetched by who waits for it
FENCED, FINAL_ALREADY, TOO_LATE = 1, 2, 3


class Endings(NamedTuple):
    """Outcomes as the script wants them.

    Parameters:
        args: Of the script, after channel, epoch and the most dead letters.
        staged: Names and values of those too large for it.
        places: Where in the batch each of them is.
        members: What is held, of each.
        values: What its key holds then; empty: nothing; None: what it held before.
        answers: For the whole batch; those of the others are final.
    """

    args: list[bytes | int]
    staged: list[tuple[bytes, bytes]]
    places: list[int]
    members: list[bytes]
    values: list[bytes | None]
    answers: list[Exception | None]


def pack(batch: Sequence[Outcome], result_ttl: float, most: int, *, fused: bool, large: int = LARGE) -> Endings:
    """Encode outcomes; one that cannot be does not fail its mates.

    Parameters:
        batch: What becomes of deliveries.
        result_ttl: How long a final record is kept that does not say, in seconds.
        most: Largest body of a follow-up, in bytes.
        fused: False: records are another storage's.
        large: Bytes above which a value goes beside the script.
    """
    endings = Endings([], [], [], [], [], [None] * len(batch))
    packing = _Packing(endings, result_ttl, most, fused=fused, large=large)
    for place, outcome in enumerate(batch):
        try:
            packing.add(place, outcome)
        except Exception as error:  # noqa: BLE001  # it fails this item alone
            endings.answers[place] = item_error(error)
    return endings


def read_answers(endings: Endings, reply: Sequence[int]) -> tuple[list[Exception | None], int]:
    """Return an answer for each of the batch, and how many dead letters were dropped."""
    for at in range(0, len(reply) - 1, 2):
        endings.answers[endings.places[reply[at]]] = _error(reply[at + 1])
    return endings.answers, reply[-1]


def _error(code: int) -> Exception:
    if code == FENCED:
        return FencedError("the delivery was taken over")
    if code == FINAL_ALREADY:
        return AlreadyFinal("an earlier final record stays")
    return UnavailableError("its value came too late: it is said again")


class _Packing:
    """Encodes one outcome after another; neighbours that are as most are share a section."""

    def __init__(self, endings: Endings, result_ttl: float, most: int, *, fused: bool, large: int) -> None:
        self._endings = endings
        self._result_ttl = result_ttl
        self._most = most
        self._fused = fused
        self._large = large
        self._seen: set[bytes] = set()
        self._section: tuple[int, str | None] | None = None
        self._count_at = self._count = 0

    def add(self, place: int, outcome: Outcome) -> None:
        """Encode an outcome, the one at that place of the batch."""
        member, endings = outcome.delivery.token, self._endings
        if type(member) is not bytes:
            raise RefusedError(f"not a delivery of Redis: token {member!r}")
        if member in self._seen:
            raise FencedError("the delivery was settled already")
        value = self._usual(outcome, member) if self._fused else None
        if value is None:
            special, value = _special(
                outcome, member, endings.staged, self._result_ttl, self._most, fused=self._fused, large=self._large
            )
            self._section = None
            endings.args.extend(special)
        endings.places.append(place)
        endings.members.append(member)
        endings.values.append(value)
        self._seen.add(member)

    def _usual(self, outcome: Outcome, member: bytes) -> bytes | None:
        """Encode an outcome that is as most are, and return its record's value; None: it is not."""
        record = outcome.record
        if record is None or not (ttl := _usual_ttl(outcome, record, self._result_ttl)):
            return None
        value = final_value(record)
        if len(value) > self._large:
            return None
        args, section = self._endings.args, (ttl, record.reply_to)
        if section != self._section:
            self._section, self._count_at, self._count = section, len(args) + 3, 0
            args.extend((b"k", ttl, (record.reply_to or "").encode(), 0))
        self._count += 1
        args[self._count_at] = self._count
        args.extend((member, value))
        return value


def _usual_ttl(outcome: Outcome, record: TaskRecord, result_ttl: float) -> int:
    """Return how many seconds the record of an outcome is kept that is as most are; 0: it is not."""
    if outcome.sends or type(outcome.verdict) is not Ack or record.unique_key is not None:
        return 0
    if record.status not in FINAL:
        return 0
    return _seconds(record, result_ttl)


def _seconds(record: TaskRecord, result_ttl: float) -> int:
    ttl = result_ttl if record.ttl_s is None else record.ttl_s
    return max(0, -int(-ttl // 1))


def _special(
    outcome: Outcome,
    member: bytes,
    staged: list[tuple[bytes, bytes]],
    result_ttl: float,
    most: int,
    *,
    fused: bool,
    large: int,
) -> tuple[list[bytes | int], bytes | None]:
    """Return the arguments of one outcome, and what its key holds then."""
    record = outcome.record if fused else None
    is_final = record is not None and record.status in FINAL
    envelope = outcome.delivery.envelope
    target, item, due, ttl = member[MEMBER:], member[:ITEM], b"", b""
    value: bytes | None
    if isinstance(outcome.verdict, Ack):
        verdict, value = b"a", b""
        seconds = _seconds(record, result_ttl) if record is not None and is_final else 0
        if record is not None and seconds:
            value, ttl = final_value(record), b"%d" % seconds
    elif isinstance(outcome.verdict, Retry):
        again = outcome.verdict.envelope
        verdict, due, target = b"r", due_of(again), target_of(again.queue, again.priority)
        generation = (reserve(1) << 1 | (len(again.body) > LARGE)).to_bytes(6, "big")
        item = again.uuid.bytes + generation
        value = waiting_value(encode(again), generation, record)
    elif isinstance(outcome.verdict, Release):
        verdict, value = b"b", None
        if outcome.verdict.delay_s > 0:
            due = after(outcome.verdict.delay_s)
    else:
        verdict = b"x"
        value = _buried(outcome.delivery, outcome.verdict, member, record)
    is_over = verdict in {b"a", b"x"}
    unique = b"" if envelope is None or not is_over else (envelope.unique_key or "").encode()
    frame = b""
    if is_final and record is not None and is_over:
        frame = value if verdict == b"a" and value else final_value(record)
        frame = frame if len(frame) < MAIL_BYTES else LOOK
    sent = value or b""
    if len(sent) > large:
        staged.append((member[:ITEM], sent))
        sent = STAGED
    mailbox = "" if record is None else record.reply_to or ""
    args: list[bytes | int] = [b"s", member, verdict, sent, ttl, target, item, due, unique, mailbox.encode(), frame]
    args.append(len(outcome.sends))
    for its_record, its_envelope in outcome.sends:
        if len(its_envelope.body) > most:
            raise RefusedError(f"a follow-up of {len(its_envelope.body)} bytes; at most {most} are allowed")
        args.append(target_of(its_envelope.queue, its_envelope.priority))
        args += one_task(its_envelope, its_record, reserve(1))
    return args, value


def _buried(delivery: Delivery, verdict: Dead, member: bytes, record: TaskRecord | None) -> bytes:
    envelope = delivery.envelope
    data = delivery.raw if envelope is None else encode(envelope)
    crashes = delivery.crashes - (0 if envelope is None else envelope.crashes)
    return buried_value(bytes((min(crashes, 255),)) + member[16:ITEM], data, verdict.reason, record)
