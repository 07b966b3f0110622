"""The limit of 8 MiB: a larger message is an error at the call, a larger result ends its task; no other is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from damage.bench import QUEUE, body_of
from qtasks.exceptions import AddManyError, PayloadTooLargeError, TaskFailedError
from qtasks_core.contract import Envelope
from qtasks_core.errors import RefusedError
from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from damage.bench import Bench

LIMIT = 8 * 1024 * 1024
AROUND_ARGUMENT = len(body_of("length", b"x" * 100_000)) - 100_000
AROUND_RESULT = 6 + 5  # the frame's preamble, and the header of large bytes


def _declare(bench: Bench) -> tuple[Any, Any]:
    @bench.app.task
    async def length(data: bytes) -> int:
        bench.runs.append(len(data))
        return len(data)

    @bench.app.task
    async def make(size: int) -> bytes:
        bench.runs.append(size)
        return b"x" * size

    return length, make


async def test_the_largest_that_is_allowed_travels_both_ways(bench: Bench) -> None:
    """To the byte: a message and a result of exactly max_message_bytes."""
    length, make = _declare(bench)
    async with bench.worker():
        message, result = LIMIT - AROUND_ARGUMENT, LIMIT - AROUND_RESULT
        assert message == await length.add_task(b"x" * message).result(timeout=30)
        assert result == len(await make.add_task(result).result(timeout=30))


async def test_arguments_that_are_too_large_are_refused_at_the_call(bench: Bench) -> None:
    """With sizes, setting and a way out; nothing of it is queued, its batch mates are."""
    length, _ = _declare(bench)
    too_large = b"x" * (LIMIT - AROUND_ARGUMENT + 1)
    with pytest.raises(PayloadTooLargeError) as caught:
        await length.add_task(too_large)
    with pytest.raises(AddManyError, match="1 of 3 tasks were not accepted") as many:
        await length.add_many([(b"a",), (too_large,), (b"bc",)])
    accepted = [task for task in many.value.tasks if task is not None]
    assert 2 == (await bench.depth()).ready
    async with bench.worker():
        assert [1, 2] == [await task.result(timeout=20) for task in accepted]

    expected = (
        f"task 'length': the message has {LIMIT + 1:,} bytes, max_message_bytes is {LIMIT:,}; "
        "pass a reference to the data (a path, a key), or raise the setting on every client and worker"
    )
    assert [expected] * 2 == [str(caught.value), str(many.value.exceptions[0])]


async def test_a_result_that_is_too_large_ends_its_task_with_error(bench: Bench) -> None:
    """It runs once; who waits gets sizes, setting and a way out; results of the same write arrive."""
    _, make = _declare(bench)
    async with bench.worker(concurrency=3):
        tasks = await make.add_many([(10,), (LIMIT - AROUND_RESULT + 1,), (20,)])
        assert [10, 20] == [len(await tasks[place].result(timeout=20)) for place in (0, 2)]
        with pytest.raises(TaskFailedError) as caught:
            await tasks[1].result(timeout=20)
        await bench.is_settled()

    expected = (
        f"the result of task 'make' has {LIMIT + 1:,} bytes, max_message_bytes is {LIMIT:,}; "
        "return a reference to the data (a path, a key)"
    )
    assert str(caught.value).endswith(expected)
    assert "error" == tasks[1].status
    assert [10, 20, LIMIT - AROUND_RESULT + 1] == sorted(bench.runs)


async def test_a_server_refuses_what_is_larger_from_a_client_that_does_not_look(bench: Bench) -> None:
    """The limit is the server's too: one envelope of a batch is refused with its size, the others are queued."""
    await bench.app.core.engine().ensure_started()
    bodies = [body_of("innocent", 1), bytes(LIMIT + 1), body_of("innocent", 2)]
    answers = await bench.broker.send([Envelope(new_uuid(), QUEUE, body) for body in bodies])

    assert [type(None), RefusedError, type(None)] == list(map(type, answers))
    assert str(LIMIT + 1) in str(answers[1])
    assert 2 == (await bench.depth()).ready
    await bench.app.stop()


async def test_a_very_long_name_harms_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What comes in a payload fills neither the log nor the memory: it is shown cut."""
    body = body_of("n" * 1_000_000)
    codec = msgspec.msgpack.encode(["innocent", b"", b"", "c" * 1_000_000])
    async with bench.worker():
        uuids = await bench.inject_many([body, body_of("innocent", 1)[:6] + codec] * 5)
        await bench.app.add_task("innocent", 1).result(timeout=20)
        assert len(uuids) == sum(count or 0 for count in await bench.depth())

    assert "is parked for other workers" in caplog.text
    assert max(len(record.getMessage()) for record in caplog.records) < 1000
