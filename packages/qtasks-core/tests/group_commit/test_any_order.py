"""Any order of events, as hypothesis makes them up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from group_commit.bench import commit, run
from qtasks_core.contract import PerItem
from qtasks_core.errors import RefusedError, SendRefusedError, SendUnknownError, UnavailableError

STEPS = st.sampled_from(["ok", "away", "cut", "lost reply", "hangs"])
LIMITS: st.SearchStrategy[dict[str, int]] = st.builds(
    dict,
    flush_items=st.integers(1, 5),
    flush_bytes=st.integers(1, 12),
    buffer_items=st.integers(1, 8),
    buffer_bytes=st.integers(1, 20),
)


@settings(max_examples=150, deadline=None)
@given(script=st.lists(STEPS, max_size=12), limits=LIMITS, sizes=st.lists(st.integers(0, 6), max_size=30))
def test_order_is_kept_and_each_is_answered_once(script: list[str], limits: dict[str, Any], sizes: list[int]) -> None:
    """Whatever happens to whole writes, a single caller's items arrive first in the order they were submitted in."""
    left, arrived, again = list(script), list[int](), set[int]()

    async def write(batch: Sequence[int]) -> PerItem:
        assert batch
        assert len(batch) <= limits["flush_items"]
        step = left.pop(0) if left else "ok"
        await asyncio.sleep(0.01)
        if step == "away":
            raise UnavailableError("down")
        if step == "cut":
            return [SendUnknownError("cut")] * len(batch)
        arrived.extend(item for item in batch if item not in again)
        again.update(batch)
        if step == "lost reply":
            raise SendUnknownError("no reply")
        if step == "hangs":
            await asyncio.sleep(1e6)
        return [None] * len(batch)

    async def main() -> list[Exception | None]:
        group = commit(write, **limits)
        return await group.submit_many(list(enumerate(sizes)), 1e9)

    assert [None] * len(sizes) == run(main)
    assert list(range(len(sizes))) == arrived


class _Chaos:
    """A server that does with each write and each item what its lists say, and remembers which items it has."""

    def __init__(self, wholes: list[str], items: list[str], poison: set[int]) -> None:
        self.wholes = list(wholes)
        self.items = list(items)
        self.poison = poison
        self.has: set[int] = set()
        """What is there, as a server knows it; a client may never learn it."""
        self.is_writing = False

    async def write(self, batch: Sequence[int]) -> PerItem:
        assert not self.is_writing
        assert len(set(batch)) == len(batch)
        self.is_writing = True
        try:
            return await self._write(batch)
        finally:
            self.is_writing = False

    async def _write(self, batch: Sequence[int]) -> PerItem:
        whole = self.wholes.pop() if self.wholes else "ok"
        await asyncio.sleep(0.05)
        if whole == "away":
            raise UnavailableError("down")
        if self.poison & set(batch):
            raise ValueError("poison")
        if whole == "hangs":
            await asyncio.sleep(1e9)
        return [self._take(item) for item in batch]

    def _take(self, item: int) -> Exception | None:
        kind = self.items.pop() if self.items else "ok"
        if kind == "away":
            return UnavailableError("down")
        if kind == "refused":
            return RefusedError("never")
        if kind != "unknown, not there":
            self.has.add(item)
        return SendUnknownError("cut") if kind.startswith("unknown") else None


CALLERS = st.lists(
    st.tuples(
        st.floats(0, 2),  # when it submits
        st.integers(0, 6),  # bytes
        st.sampled_from([0.0, 0.3, 5.0, 100.0]),  # its timeout
        st.none() | st.floats(0, 2),  # when it is cancelled
    ),
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(
    chaos=st.builds(
        _Chaos,
        wholes=st.lists(st.sampled_from(["ok", "ok", "ok", "away", "hangs"]), max_size=15),
        items=st.lists(st.sampled_from(["ok", "away", "refused", "unknown, there", "unknown, not there"]), max_size=30),
        poison=st.sets(st.integers(0, 19), max_size=2),
    ),
    callers=CALLERS,
    limits=LIMITS,
    closes=st.none() | st.floats(0, 3),
)
def test_every_answer_is_true_in_any_order_of_events(
    chaos: _Chaos,
    callers: list[tuple[float, int, float, float | None]],
    limits: dict[str, Any],
    closes: float | None,
) -> None:
    """Success: it is there. Refused: it is not. Each is answered, whoever else fails, gives up, or stops the app."""

    async def main() -> list[Any]:
        group = commit(chaos.write, write_timeout_s=1.0, **limits)

        async def call(index: int, at: float, size: int, timeout_s: float) -> None:
            await asyncio.sleep(at)
            await group.submit(index, size, timeout_s)

        loop = asyncio.get_running_loop()
        tasks = []
        for index, (at, size, timeout_s, cancelled) in enumerate(callers):
            tasks.append(asyncio.create_task(call(index, at, size, timeout_s)))
            if cancelled is not None:
                loop.call_later(cancelled, tasks[-1].cancel)
        if closes is not None:
            await asyncio.sleep(closes)
            await group.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await group.drain()
        assert 0 == len(group)
        return answers

    for index, answer in enumerate(run(main)):
        if answer is None:
            assert index in chaos.has
        elif isinstance(answer, SendRefusedError):
            assert index not in chaos.has
        elif isinstance(answer, ValueError):
            assert index in chaos.poison
        else:
            assert isinstance(answer, (SendUnknownError, asyncio.CancelledError))
