"""What tests of group commit share: a loop that never waits, a server that does as told, callers.

The clock of the loop jumps to the next timer: seconds cost nothing, and a test that waits for what will never come
fails at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from qtasks_core.contract import PerItem
from qtasks_core.group_commit import BufferLimits, GroupCommit

__all__ = ["Server", "commit", "kinds", "run", "sized", "submit"]

T = TypeVar("T")
Answers = Mapping[int, Exception | None]

ROOMY = BufferLimits(512, 1 << 20, 10_000, 32 << 20, 30.0)


class _Clock(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everything waits for something that will never come")
        if not ready and timeout:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a loop that never really waits."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main())


class Server:
    """What is written to: keeps the batches, answers as told, can be held up.

    Parameters:
        script: What each write does: answers by item, an exception to raise, or None: all is well.
        takes_s: Seconds of each write.
    """

    def __init__(self, *script: Answers | BaseException | None, takes_s: float = 0.001) -> None:
        self.script = list(script)
        self.takes_s = takes_s
        self.batches: list[list[int]] = []
        self.at: list[float] = []
        self.in_flight = 0

    async def write(self, batch: Sequence[int]) -> PerItem:
        self.batches.append(list(batch))
        self.at.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        assert 1 == self.in_flight
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.in_flight -= 1
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        return [(step or {}).get(item) for item in batch]


def commit(server: Server | Callable[[Sequence[int]], Awaitable[Any]], **limits: Any) -> GroupCommit[int]:
    """Return a group commit of small numbers."""
    write = server.write if isinstance(server, Server) else server
    return GroupCommit(write, ROOMY._replace(**limits), "numbers")


async def submit(group: GroupCommit[int], *items: int, timeout_s: float = 30.0) -> list[Exception | None]:
    """Let one caller for each item submit it, in this order; return what each got."""

    async def one(item: int) -> Exception | None:
        try:
            await group.submit(item, 1, timeout_s)
        except Exception as error:  # noqa: BLE001  # it is the answer
            return error
        return None

    return await asyncio.gather(*(one(item) for item in items))


def kinds(answers: Sequence[Exception | None]) -> list[type[Exception] | None]:
    return [None if one is None else type(one) for one in answers]


def sized(items: Sequence[int], size: int = 1) -> list[tuple[int, int]]:
    return [(item, size) for item in items]
