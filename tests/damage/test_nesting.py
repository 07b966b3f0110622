"""Nesting: up to max_depth it travels, deeper it is refused where it is made; what comes deeper harms nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from damage.bench import body_of
from qtasks.exceptions import CodecError, TaskFailedError
from qtasks_core.contract import Message
from qtasks_core.wire import pack_message

if TYPE_CHECKING:
    from damage.bench import Bench

DEEPEST = 64  # max_depth
BEYOND = [DEEPEST + 1, 500, 100_000]


def _nested(depth: int) -> Any:
    """Return lists and mappings in one another."""
    value: Any = []
    for level in range(depth - 1):
        value = {"in": value} if level % 2 else [value]
    return value


def _declare(bench: Bench) -> tuple[Any, Any]:
    @bench.app.task
    async def give(depth: int) -> Any:
        return _nested(depth)

    @bench.app.task
    async def take(value: Any) -> int:
        depth = 0
        while isinstance(value, (list, dict)):
            depth += 1
            value = (value["in"] if isinstance(value, dict) else value[0]) if value else None
        return depth

    return give, take


async def test_the_deepest_that_is_allowed_travels_both_ways(bench: Bench) -> None:
    """64 levels of each argument and of the result."""
    give, take = _declare(bench)
    async with bench.worker():
        assert DEEPEST == await take.add_task(_nested(DEEPEST)).result(timeout=20)
        assert DEEPEST == await take.add_task(value=_nested(DEEPEST)).result(timeout=20)
        assert _nested(DEEPEST) == await give.add_task(DEEPEST).result(timeout=20)


async def test_arguments_that_are_deeper_are_refused_at_the_call(bench: Bench) -> None:
    """CodecError with the setting; nothing is queued, and batch mates are."""
    _, take = _declare(bench)
    text = rf"task 'take': its {{}} nested deeper than max_depth \({DEEPEST}\); flatten the data"
    with pytest.raises(CodecError, match=text.format("arguments")):
        await take.add_task(_nested(DEEPEST + 1))
    with pytest.raises(CodecError, match=text.format("keyword arguments")):
        await take.add_task(value=_nested(DEEPEST + 1))
    with pytest.raises(CodecError, match=r"cannot be encoded as msgpack: maximum recursion depth"):
        await take.add_task(_nested(100_000))
    drafts = [bench.app.core.draft("take", (_nested(depth),), {}) for depth in (1, DEEPEST + 1, 1)]
    answers = await bench.app.core.add_many(drafts)

    assert [False, True, False] == [isinstance(answer, CodecError) for answer in answers]
    assert 2 == (await bench.depth()).ready
    await bench.app.stop()


@pytest.mark.parametrize("depth", BEYOND)
async def test_a_result_that_is_deeper_ends_its_task_with_error(bench: Bench, depth: int) -> None:
    """It runs once, the error names task and setting; its neighbours are not touched."""
    give, _ = _declare(bench)
    async with bench.worker():
        tasks = await give.add_many([(1,), (depth,), (1,)])
        assert [[], []] == [await tasks[place].result(timeout=20) for place in (0, 2)]
        with pytest.raises(TaskFailedError, match=r"the result of task 'give' (nested deeper|cannot be encoded)"):
            await tasks[1].result(timeout=20)
        await bench.is_settled()


@pytest.mark.parametrize("depth", BEYOND)
async def test_a_foreign_producer_that_nests_deeper_harms_nobody(bench: Bench, depth: int) -> None:
    """Arguments nested beyond the limit, made elsewhere: their task ends, typed or not, and the worker goes on."""
    _declare(bench)
    deep = b"\x91" * depth + b"\x90"  # the outermost is the list of the arguments
    bodies = [pack_message(Message(name, deep, b"\x80")) for name in ("take", "innocent")]
    async with bench.worker():
        uuids = await bench.inject_many([*bodies, body_of("innocent", 1)])
        records = [await bench.end_of(uuid) for uuid in uuids]
        await bench.is_settled()

    assert ["error", "error", "success"] == [record.status for record in records]
