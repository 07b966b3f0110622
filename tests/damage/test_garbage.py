"""Bodies and messages that cannot be read: dead letters with their raw bytes; the worker goes on with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from damage.bench import QUEUE, body_of, set_row
from qtasks.exceptions import TaskDeadError
from qtasks_core.contract import Envelope, Inspectable
from qtasks_core.naming import new_uuid
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damage.bench import Bench

GOOD = body_of("innocent", 1)
GARBAGE = {
    "nothing": b"",
    "text": b'{"task": "innocent", "args": [1]}',
    "zeros": bytes(64),
    "preamble alone": GOOD[:6],
    "cut in the preamble": GOOD[:3],
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "last byte missing": GOOD[:-1],
    "wrong types": GOOD[:6] + msgspec.msgpack.encode([1, 2, 3]),
    "a length without end": GOOD[:6] + b"\xdd\xff\xff\xff\xff",
    "a name without end": GOOD[:6] + b"\x93\xdb\xff\xff\xff\xff",
    "nested without end": GOOD[:6] + b"\x91" * 100_000,
}


async def test_garbage_is_dead_lettered_with_its_bytes_and_the_others_go_on(bench: Bench) -> None:
    """All kinds in one batch with tasks that are well: each is dead with the reason, its bytes as they were."""
    bodies = [one for garbage in GARBAGE.values() for one in (garbage, body_of("innocent", len(garbage)))]
    async with bench.worker():
        uuids = await bench.inject_many(bodies)
        records = [await bench.end_of(uuid) for uuid in uuids]
        await bench.is_settled()
        letters = await bench.letters()

    assert ["dead", "success"] * len(GARBAGE) == [record.status for record in records]
    assert dict(zip(uuids[::2], GARBAGE.values(), strict=True)) == {uuid: body for uuid, (body, _) in letters.items()}
    for record in records[::2]:
        assert record.reason == letters[record.uuid][1]
        assert record.reason.startswith(("expected a body that begins with c151", "the body is damaged"))


async def test_who_waits_for_garbage_is_told(bench: Bench) -> None:
    """`result()` raises TaskDeadError with the reason, at once."""
    async with bench.worker():
        task = await bench.app.get(await bench.inject(b"garbage"))
        with pytest.raises(TaskDeadError, match="expected a body that begins with c151, got 676172626167"):
            await task.result(timeout=10)


async def test_a_full_load_of_garbage_takes_no_slot_away(bench: Bench) -> None:
    """More garbage than slots, many times over: tasks behind it run, and all slots are free in the end."""
    async with bench.worker(concurrency=2) as worker:
        uuids = await bench.inject_many([b"garbage"] * 200)
        await bench.is_settled()
        await eventually(lambda: 0 == worker.running, what="all slots free")
        assert set(uuids) == set(await bench.letters())


async def _planted(bench: Bench, path: Path, data: bytes | Callable[[Envelope], bytes]) -> Envelope:
    """Put a message into the file, then overwrite all of it as a bad disk would."""
    envelope = Envelope(await bench.inject(GOOD), QUEUE, GOOD)
    set_row(path, envelope.uuid, data if isinstance(data, bytes) else data(envelope))
    return envelope


MESSAGES = {
    "zeros": bytes(40),
    "cut": lambda envelope: msgspec.msgpack.Encoder(uuid_format="bytes").encode(envelope)[:30],
    "another's": lambda envelope: msgspec.msgpack.encode(msgspec.structs.replace(envelope, uuid=new_uuid())),
    "nested": lambda envelope: b"\x9f\xc4\x10" + envelope.uuid.bytes + b"\x91" * 100_000,
    "large": bytes(100_000),
    "a deep field of a newer version": lambda envelope: _appended(envelope, b"\x91" * 100_000 + b"\x90"),
}


def _appended(envelope: Envelope, value: bytes) -> bytes:
    fields = msgspec.msgpack.Encoder(uuid_format="bytes").encode(envelope)
    return b"\xdc\x00\x10" + fields[1:] + value


@pytest.mark.parametrize("kind", MESSAGES)
async def test_an_unreadable_message_is_dead_lettered_with_its_bytes(
    sqlite_bench: Callable[..., Bench], database: Path, kind: str
) -> None:
    """Not the body alone but all of the row is damaged: dead with a reason, and an operator sees what is left."""
    bench = sqlite_bench()
    envelope = await _planted(bench, database, MESSAGES[kind])  # type: ignore[arg-type]
    async with bench.worker():
        record = await bench.end_of(envelope.uuid)
        await bench.is_settled()
        letters = await bench.letters()

    planted = MESSAGES[kind]
    assert ("dead", "the envelope is undecodable") == (record.status, record.reason)
    assert [envelope.uuid] == list(letters)
    assert "the envelope is undecodable" == letters[envelope.uuid][1]
    if isinstance(planted, bytes):
        assert planted == letters[envelope.uuid][0]


async def test_unreadable_messages_can_be_sent_again_and_deleted(
    sqlite_bench: Callable[..., Bench], database: Path
) -> None:
    """One unreadable dead letter does not take the tools away that an operator has for the others."""
    bench = sqlite_bench()
    envelope = await _planted(bench, database, b"garbage")
    async with bench.worker():
        await bench.inject(b"also garbage")
        await bench.is_settled()
        assert isinstance(bench.broker, Inspectable)
        assert 2 == await bench.broker.replay(QUEUE, lambda one: msgspec.structs.replace(one, body=GOOD, replays=1))
        assert "success" == (await bench.end_of(envelope.uuid)).status
        await bench.inject(b"garbage")
        await bench.is_settled()
        assert 1 == await bench.broker.purge(QUEUE, dead=True)
        assert {} == await bench.letters()
