"""What the previous and the next minor version write is read: fields missing at the end, fields appended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from damage.bench import NO_ARGUMENTS, QUEUE, set_row
from qtasks_core.contract import Envelope, Message
from qtasks_core.naming import new_uuid
from qtasks_core.wire import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damage.bench import Bench

encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
ARGS, KWARGS = encode([3]), encode({})
NEEDED = ["innocent", ARGS, KWARGS]
ALL = [*NEEDED, "msgpack", None, 60.0, new_uuid(), new_uuid(), {"tenant": "a"}, 2]
NOVELTY: list[Any] = ["new field", 7, {"deep": [1, [2, [3]]]}, b"bytes", None]


def _frame(minor: int, fields: list[Any], key_id: int = 0) -> bytes:
    return MAGIC + bytes((1, minor, 0, key_id)) + encode(fields)


BODIES = {
    "only what the first version needs": _frame(0, NEEDED),
    **{f"{count} fields": _frame(0, ALL[:count]) for count in range(4, len(ALL))},
    "all": _frame(0, ALL),
    "one more": _frame(1, [*ALL, NOVELTY[0]]),
    "many more": _frame(9, [*ALL, *NOVELTY, *NOVELTY]),
    "a key id": _frame(1, [*ALL, *NOVELTY], key_id=3),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_of_another_minor_version_runs(bench: Bench, name: str) -> None:
    """Missing fields have their defaults, further ones are passed over."""
    async with bench.worker():
        task = await bench.app.get(await bench.inject(BODIES[name]))
        assert 6 == await task.result(timeout=20)


def test_the_versions_span_what_this_one_writes() -> None:
    """When a field is appended, the bodies above get one too."""
    assert len(msgspec.structs.fields(Message)) == len(ALL)


@pytest.mark.parametrize("extra", [-9, -5, -1, 1, 20])
async def test_an_envelope_of_another_minor_version_runs(
    sqlite_bench: Callable[..., Bench], database: Path, extra: int
) -> None:
    """The same holds for what a server keeps around the body."""
    bench = sqlite_bench()
    body = _frame(0, NEEDED)
    uuid = await bench.inject(body)
    fields = list(msgspec.structs.astuple(Envelope(uuid, QUEUE, body)))
    fields = fields[:extra] if extra < 0 else [*fields, *(NOVELTY * extra)[:extra]]
    set_row(database, uuid, encode(fields))
    async with bench.worker():
        assert 6 == await (await bench.app.get(uuid)).result(timeout=20)


async def test_a_body_of_another_minor_version_is_read_in_a_dead_letter(bench: Bench) -> None:
    """An operator finds the bytes as the other version wrote them: what this one does not know is not lost."""

    @bench.app.task
    async def fail() -> None:
        raise RuntimeError("no")

    body = _frame(1, ["fail", *NO_ARGUMENTS, *ALL[3:], *NOVELTY])
    async with bench.worker():
        uuid = await bench.inject(body)
        assert "error" == (await bench.end_of(uuid)).status
        await bench.is_settled()
        letters = await bench.letters()

    assert [body] == [kept for kept, _ in letters.values()]


async def test_an_unknown_task_of_a_newer_version_is_put_back_as_it_was(bench: Bench) -> None:
    """Parking keeps the body byte by byte, for the newer worker that will read it."""
    body = _frame(1, ["stranger", *NO_ARGUMENTS, *ALL[3:], *NOVELTY])
    async with bench.worker():
        uuid = await bench.inject(body)
        await bench.is_settled()
        record = (await bench.app.get(uuid)).record

    assert (body, 1) == (record.body, record.attempt)
